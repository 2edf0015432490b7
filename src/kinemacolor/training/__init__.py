"""Training: the Lightning module, the losses, and what makes a killed run end as an unbroken one would."""
