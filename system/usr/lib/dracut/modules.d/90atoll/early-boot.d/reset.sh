# Find the /var of this deployment: one that `atoll reset` staged has a new one of its own, until it was
# healthy once. Other deployments have the shared one, so whichever boots finds what belongs to it.
#
# reads   deployments/N/var          the deployment's own /var: own_var.py
#         deployments/N/keep-home    empty file: /home and /root are those that were there before
#         .atoll-fresh               empty file in a directory that stands for a kept one
# sets    $var_source
# needs   $partition, $deployment
#
# A tree with this file can be reset.

find_var() {
    shared_var=$partition/atoll/var
    own_var=$partition/atoll/deployments/$deployment/var
    var_source=$shared_var
    if [ -d "$own_var" ] && ! [ -L "$own_var" ]; then
        var_source=$own_var
    fi
}

# find_in_var NAME: sets $found, the directory that is bound to /NAME. Once the deployment was healthy,
# Atoll exchanges kept directories with those that stand for them; the power may fail in between.
find_in_var() {
    found=$var/$1
    [ "$var_source" = "$own_var" ] && [ -e "${own_var%/var}/keep-home" ] || return 0
    case $1 in
    home | root) ;;
    *) return 0 ;;
    esac
    if [ -d "$shared_var/$1" ] && ! [ -e "$shared_var/$1/.atoll-fresh" ]; then
        found=$shared_var/$1
    fi
}
