"""Programs: a model as a small graph of named ops, split by what each of them depends on."""
