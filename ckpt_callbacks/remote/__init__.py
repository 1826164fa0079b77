"""Places elsewhere that hold objects: buckets, hubs, and folders of other machines."""
