"""OCI images: references, registries, image layouts, manifests and layers."""
