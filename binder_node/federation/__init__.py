"""The federation: who is in it, how its redirector sees a member, and how a member joins, weighs and leaves."""
