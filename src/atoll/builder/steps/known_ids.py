"""Ids for the system accounts of Debian packages, so that unrelated images use the same ids.

A name has one id, for the user and the group of that name. Ids never change: names are only
appended, never moved, renamed or removed, even when no package creates them any more. Accounts with
a fixed id in Debian (base-passwd: 0 to 99, 60000 to 64999, 65534) are not in the table.
``docs/reference/ids.md`` describes how an account gets its id.

Each row starts with the id of its first name; the ids of the others follow in order.
"""

from __future__ import annotations

FIRST = 150
LAST = 599
"""The ids that this table may use."""

_TABLE = """
150 systemd-journal systemd-network systemd-resolve systemd-timesync systemd-coredump
155 systemd-oom systemd-journal-remote systemd-journal-upload systemd-journal-gateway messagebus
160 polkitd crontab uuidd _ssh sshd netdev input kvm render sgx clock rdma tss tcpdump avahi
175 avahi-autoipd bluetooth rtkit colord geoclue saned scanner lpadmin ssl-cert pulse
185 pulse-access pipewire usbmux Debian-gdm gdm sddm lightdm greeter _greetd gnome-initial-setup
195 gnome-remote-desktop cups-pk-helper cups-browsed hplip fwupd-refresh speech-dispatcher
201 kernoops whoopsie nm-openvpn nm-openconnect nm-fortisslvpn nm-strongswan nm-iodine nm-vpnc
209 dnsmasq _chrony ntp ntpsec openntpd _rpc statd _dhcpcd dhcpcd dhcpd isc-dhcp systemd-homed
221 wireshark plocate mlocate locate _seatd seat gamemode realtime docker podman lxd lxc-dnsmasq
233 incus incus-admin libvirt libvirt-dnsmasq swtpm libvirtdbus vboxusers vboxadd vboxsf nvpd
243 nvidia-persistenced i2c gpio spi postfix postdrop Debian-exim dovecot dovenull vmail
253 opendkim opendmarc postgrey postsrsd spamd debian-spamd rspamd _rspamd clamav amavis mailman
264 cyrus bind unbound knot knot-resolver pdns nsd powerdns dnscrypt-proxy _dnscrypt-proxy
274 stubby mysql postgres mongodb redis memcache memcached couchdb rabbitmq mosquitto nats nginx
286 caddy haproxy varnish vcache varnishlog squid privoxy tinyproxy debian-tor openldap sssd
297 nslcd freerad kerberos _kadmin winbindd_priv gssproxy nut prometheus grafana loki telegraf
308 influxdb collectd munin zabbix nagios icinga nagiosadmin monitoring snmp Debian-snmp
318 graphite carbon statsd alertmanager node-exporter jenkins gitlab gitea forgejo git gitlog
329 buildbot gitlab-runner gitdaemon gitolite3 tomcat tomcat9 tomcat10 solr elasticsearch kibana
339 logstash opensearch jetty activemq gluster etcd consul vault nomad kube kubelet haclient
351 hacluster corosync pacemaker drbd stunnel4 openvpn strongswan libreswan _nebula tailscale
361 zerotier-one i2psvc yggdrasil tinc iodine fastd babeld frr frrvty quagga quaggavty bird
373 ladvd lldpd _lldpd iperf3 arpwatch ntopng smokeping suricata snort ossec wazuh fail2ban
385 crowdsec aide _aide minidlna mpd mopidy icecast2 shairport-sync snapserver snapclient
395 jellyfin deluge debian-deluged debian-transmission qbittorrent nzbget sabnzbdplus syncthing
403 nextcloud owncloud seafile murmur mumble-server coturn turnserver prosody ejabberd epmd
413 jabber matrix-synapse dendrite jvb jicofo jitsi asterisk freeswitch kamailio ircd ngircd
424 inspircd znc bitlbee thelounge charybdis hybrid unrealircd ftp proftpd vsftpd tftp pure-ftpd
436 rsyncd bitcoin monero lnd electrs cups-pdf ipp-usb brlapi brltty espeakup fluidsynth
447 jackuser timidity mythtv vdr tvheadend hts motion shinobi zoneminder gpsd radicale sogo
459 xandikos etebase homeassistant openhab domoticz node-red zigbee2mqtt esphome owserver weewx
469 apt-cacher-ng aptly reprepro sbuild schroot pbuilder buildd mini-buildd bacula bareos amanda
480 backuppc urbackup borg burp rsnapshot puppet salt ansible cfengine foreman foreman-proxy
491 dcmtk orthanc dictd docker-registry registry pulp rsyslog syslog-ng graylog fluentd
501 fluent-bit vector logcheck xrdp guacd x2gouser x2goprint nxserver spice-vdagent dirsrv
511 ipaapi ipsilon pki uwsgi ulog nfqueue conntrackd keepalived keepalived_script radvd ndppd
522 miredo openvswitch hugetlbfs roundcube cacti observium librenms otrs rt sambashare flatpak
533 firebird gnunet usbguard pcscd plasma-setup plasmalogin _flatpak tang _runit-log runit-log
543 dhcp-helper unscd nscd lldap opendnssec softhsm munge slurm gerbera ukuiuser pesign minetest
555 nsca kismet openhpid smmta smmsp courier fetchmail dma msmtp mlmmj sympa partimag wheel
"""


def parse_table(text: str) -> dict[str, int]:
    """The id of each name. Raises ValueError when a row starts with a wrong id, or a name is there
    twice."""
    ids: dict[str, int] = {}
    number = FIRST
    for row in text.strip().splitlines():
        first, *names = row.split()
        if int(first) != number:
            raise ValueError(f"the row {row!r} should begin with {number}")
        for name in names:
            if ids.setdefault(name, number) != number:
                raise ValueError(f"{name} is there twice")
            number += 1
    return ids


KNOWN = parse_table(_TABLE)
"""Name to id."""
