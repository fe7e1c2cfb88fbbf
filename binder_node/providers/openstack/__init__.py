"""A server of an OpenStack cloud (OVH Public Cloud and others): made, found again and removed by its labels alone."""
