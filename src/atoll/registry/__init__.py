"""Images that travel: OCI references, manifests, layers and layouts."""
