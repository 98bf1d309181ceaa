"""What was called on what, before anything is computed: records, what they lower to, and their derivatives."""
