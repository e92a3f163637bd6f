"""Objects, trees and refs on disk: what keeps contents, and proves them."""
