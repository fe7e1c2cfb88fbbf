"""Several nodes seen side by side: what a look at each tells, a table, and a page that keeps its looks. Pure."""
