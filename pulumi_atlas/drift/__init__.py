"""What differs between state and world, and how to mend it: drives the Pulumi CLI."""
