"""What can be asked of a mixture: densities, samples, priors, noise, units."""
