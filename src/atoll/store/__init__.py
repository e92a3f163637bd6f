"""A content-addressed store on disk: objects, tree images and refs."""
