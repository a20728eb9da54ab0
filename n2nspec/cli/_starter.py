"""The text of the files that `n2nspec init` writes. `NAME` is the name of the project."""

from __future__ import annotations

__all__ = ["GITIGNORE", "README", "SPEC"]

SPEC = """#:schema ./n2nspec.schema.json
# A denoiser that learns from pairs of noisy pictures. `n2nspec layers` lists what it can be made of.
spec_version = 1
name = "NAME"

[vars]
width = 16                   # channels; "${2*width}" is twice as many

[input]
x = ["N", 3, "H", "W"]       # batch, channels, height, width; a letter stands for any size

[[encoder]]
type = "Conv2d"
out_channels = "${width}"
kernel_size = 3
stride = 2                   # halves height and width
padding = 1

[[encoder]]
type = "ReLU"

[[encoder]]
type = "Conv2d"
out_channels = "${2*width}"
kernel_size = 3
stride = 2
padding = 1

[[encoder]]
type = "ReLU"

[[decoder]]
type = "Upsampling"          # nearest-neighbour upsampling, then a convolution
out_channels = "${width}"
kernel_size = 3
padding = 1

[[decoder]]
type = "ReLU"

[[decoder]]
type = "Upsampling"
out_channels = 3
kernel_size = 3
padding = 1

[[decoder]]
name = "denoised"
type = "Sigmoid"             # pictures are numbers from 0 to 1

[require]
same_size = ["x", "denoised"]

[train]
epochs = 10
batch_size = 32
seed = 0
optimizer = { type = "Adam", lr = 0.01 }

[data]
train = "builtin:photos"     # or a folder with your noisy pairs in a/ and b/, or a .npz, .npy or .pkl file
val = "builtin:photos"       # photographs that are not trained on
patch = 32                   # random crops of 32 x 32
noise = { type = "gaussian", sigma = 0.1 }  # drawn twice; leave it out for pairs of your own
"""

README = """# NAME

A denoiser described by `specs/NAME.toml` and trained with n2nspec.

```sh
n2nspec compile specs/NAME.toml --check                # does it fit, for which picture sizes, at what cost
n2nspec train specs/NAME.toml                          # leaves runs/NAME
n2nspec denoise runs/NAME noisy.png -o denoised.png    # your own picture
```

With `specs/n2nspec.schema.json` editors complete and check the spec: VS Code with Even Better TOML or Tombi,
others with taplo or Tombi. `n2nspec schema -o specs/n2nspec.schema.json` writes it anew.
"""

GITIGNORE = "runs/\n"
