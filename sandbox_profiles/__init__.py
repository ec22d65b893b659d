"""The built-in sandbox profiles, one YAML file each; `loader.profiles` reads them."""
