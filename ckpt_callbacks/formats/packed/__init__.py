"""Native files in another form, compressed or split into shards, from which their bytes come back."""
