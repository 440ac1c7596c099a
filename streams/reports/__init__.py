"""What recordings say of the alarm system over days: figures for people who answer for it."""
