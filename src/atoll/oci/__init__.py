"""OCI images: references, registries, layouts, manifests and layers."""
