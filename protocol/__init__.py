"""What bank and customer say to each other: values and bytes."""
