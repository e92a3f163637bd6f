"""Whether a boot is good: health checks, counted boots, and reports of boots that failed."""
