"""What measures the product: studies, benchmarks and fits. Nothing imports them."""
