"""A node replaced by another: the new inventory, the order of the steps, what they take and cost. Pure."""
