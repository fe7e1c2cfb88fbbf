"""What runs inside BinderHub's own pod, by its Python."""
