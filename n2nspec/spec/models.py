"""The spec as validated data.

In: a document, as TOML and JSON give it. Out: `Spec`, frozen, with pairs as tuples and defaults filled in.
Whether the layers fit together is the graph's matter.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    GetCoreSchemaHandler,
    GetJsonSchemaHandler,
    PrivateAttr,
    Strict,
    WithJsonSchema,
    model_validator,
)
from pydantic_core import CoreSchema, PydanticCustomError, core_schema

from n2nspec.diagnostics import Diagnostic, Label, Span
from n2nspec.layers._fields import PositivePair
from n2nspec.losses import LOSSES, LossSpec
from n2nspec.noise import NOISES, NoiseSpec
from n2nspec.optim import OPTIMIZERS, OptimizerSpec
from n2nspec.spec.entries import ENTRIES, ByType, Entry, Name
from n2nspec.spec.origins import NOWHERE, Origins
from n2nspec.spec.plugins import PluginFile
from n2nspec.spec.text import Path

__all__ = ["TABLES", "UNIONS", "DataSpec", "Require", "Spec", "TrainSpec"]

LARGEST_DIM = 2**31 - 1


def _no_control_characters(text: str) -> str:
    """Text ends up in file names and in files of other formats; a NUL or a lone surrogate breaks them."""
    for character in text:
        if (ord(character) < 32 and character not in "\n\t") or "\ud800" <= character <= "\udfff":
            raise PydanticCustomError(
                "text_range",
                "Expected plain text; received the character {received}",
                {"received": repr(character)},
            )
    return text


Text = Annotated[str, Strict(), AfterValidator(_no_control_characters)]
Place = Annotated[Text, Field(min_length=1, max_length=4096)]
"""A path, or the name of something built in."""
Reference = Annotated[str, Strict(), Field(min_length=1)]
"""The name of a node; whether there is one is the graph's question."""


def _as_dim(value: Any) -> int | str:
    if isinstance(value, bool) or not isinstance(value, (int, str)):
        raise PydanticCustomError("dim_type", 'Expected a number or a symbol such as "H"')
    if isinstance(value, int):
        if not 1 <= value <= LARGEST_DIM:
            raise PydanticCustomError("dim_range", "Expected 1 or more")
    elif not (value.isidentifier() and value.isascii()):
        raise PydanticCustomError("dim_range", 'Expected a symbol such as "H", made of letters and digits')
    return value


@dataclass(frozen=True, slots=True)
class Length:
    """Annotation: so many items. Unlike pydantic's own, it does not count an item that is wrong as absent."""

    least: int
    most: int

    def check(self, items: tuple[Any, ...]) -> tuple[Any, ...]:
        if not self.least <= len(items) <= self.most:
            raise PydanticCustomError(
                "length_range", "Expected {least} to {most} entries", {"least": self.least, "most": self.most}
            )
        return items

    def __get_pydantic_core_schema__(self, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        return core_schema.no_info_after_validator_function(self.check, handler(source))

    def __get_pydantic_json_schema__(
        self, schema: CoreSchema, handler: GetJsonSchemaHandler
    ) -> dict[str, Any]:
        return {**handler(schema), "minItems": self.least, "maxItems": self.most}


Dim = Annotated[
    int | str,
    BeforeValidator(_as_dim),
    WithJsonSchema(
        {
            "type": ["integer", "string"],
            "minimum": 1,
            "maximum": LARGEST_DIM,
            "pattern": "^[A-Za-z_][A-Za-z0-9_]*$",
        }
    ),
]
Dims = Annotated[tuple[Dim, ...], Length(1, 8)]


def _just_one(entries: dict[str, Any]) -> dict[str, Any]:
    if len(entries) != 1:
        raise PydanticCustomError(
            "entries_range", "Expected exactly one entry; received {received}", {"received": len(entries)}
        )
    return entries


JUST_ONE: dict[str, Any] = {"minProperties": 1, "maxProperties": 1, "additionalProperties": False}
"""`_just_one` and the names of entries, in the words of JSON Schema."""


def _as_version(value: Any) -> Any:
    if isinstance(value, bool) or not isinstance(value, int):
        raise PydanticCustomError("version_type", "Expected the integer 1")
    return value


class _Table(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=())


class Require(_Table):
    """What the author expects of the network; checked by `compile`."""

    same_size: Annotated[tuple[Reference, ...], Length(2, 1000)] = Field(
        (),
        description="Nodes of equal height and width; this narrows the picture sizes that work.",
    )


class TrainSpec(_Table):
    """How the network is trained."""

    epochs: Annotated[int, Strict(), Field(ge=0, le=1_000_000)] = Field(
        10, description="Passes over the training pairs."
    )
    batch_size: Annotated[int, Strict(), Field(ge=1, le=1_048_576)] = Field(
        32, description="Pairs a step; the last batch of an epoch may be smaller."
    )
    seed: Annotated[int, Strict(), Field(ge=0, le=2**63 - 1)] = Field(
        0, description="Where all randomness starts: initial weights, order, crops, noise."
    )
    init: Literal["xavier", "he", "pytorch"] = Field(
        "pytorch", description="Initialisation of the weights, uniform in each case."
    )
    dtype: Literal["float32", "float64"] = Field(
        "float32", description="Floating-point type of the training."
    )
    precision: Literal["full", "bf16-mixed"] = Field(
        "full",
        description='"bf16-mixed": products of bfloat16 numbers, weights in float32; compiled engine only.',
    )
    loss: Annotated[LossSpec, ByType(LOSSES)] = Field(
        default_factory=lambda: LOSSES["MSE"](), description="What is minimised."
    )
    optimizer: Annotated[OptimizerSpec, ByType(OPTIMIZERS)] = Field(
        default_factory=lambda: OPTIMIZERS["Adam"](), description="The rule of the steps."
    )

    @model_validator(mode="after")
    def _mixes(self) -> Self:
        if self.precision != "full" and self.dtype != "float32":
            raise PydanticCustomError(
                "precision", '"{precision}" keeps weights in float32; received dtype = "{dtype}"',
                {"precision": self.precision, "dtype": self.dtype, "field": "precision",
                 "help": "leave dtype out, or take the full precision"},
            )  # fmt: skip
        return self


class DataSpec(_Table):
    """Where the pairs come from."""

    train: Place = Field(
        description='Training pairs: "builtin:photos", a .pkl, .npz or .npy file, or a folder with a/ and b/.'
    )
    val: Place | None = Field(None, description="Held-out pairs for the PSNR after each epoch, likewise.")
    patch: PositivePair | None = Field(
        None, description="Height and width of random crops; whole pictures when absent."
    )
    patches_per_epoch: Annotated[int, Strict(), Field(ge=1, le=2**31 - 1)] | None = Field(
        None, description="Random crops an epoch; a number that suits the source when absent."
    )
    noise: Annotated[NoiseSpec, ByType(NOISES)] | None = Field(
        None, description="Noise put on clean pictures, drawn twice and independently."
    )


class Spec(_Table):
    """A whole spec: the network, and how and on what it is trained."""

    spec_version: Annotated[Literal[1], BeforeValidator(_as_version)] = Field(
        description="Version of the spec language; 1."
    )
    name: Name = Field(description="Name of the network; the run folder is called after it.")
    description: Text = Field("", description="What the network is for, in the author's words.")
    plugins: tuple[Place, ...] = Field(
        (),
        description="Python files with layers of your own, in this file's folder; run only if you say so.",
    )
    input: Annotated[dict[Name, Dims], AfterValidator(_just_one)] = Field(
        description='Name and shape of the input: numbers, or symbols such as "H" for what may vary.',
        json_schema_extra=JUST_ONE,
    )
    encoder: tuple[Annotated[Entry, ByType(ENTRIES)], ...] = Field((), description="Layers, in order.")
    decoder: tuple[Annotated[Entry, ByType(ENTRIES)], ...] = Field(
        (), description="Layers, in order; the first follows the encoder's last."
    )
    output: Annotated[dict[Name, Reference], AfterValidator(_just_one)] | None = Field(
        None,
        description="Name of the output and the node it is; the last layer when absent.",
        json_schema_extra=JUST_ONE,
    )
    require: Require | None = Field(None, description="What the author expects of the sizes.")
    train: TrainSpec = Field(default_factory=TrainSpec, description="How the network is trained.")
    data: DataSpec | None = Field(None, description="Where the training pairs come from.")

    _origins: Origins = PrivateAttr(default=NOWHERE)
    _plugin_files: tuple[PluginFile, ...] = PrivateAttr(default=())
    _warnings: tuple[Diagnostic, ...] = PrivateAttr(default=())

    @model_validator(mode="after")
    def _has_layers(self) -> Self:
        if not self.encoder and not self.decoder:
            raise PydanticCustomError(
                "no_layers",
                "a network needs a layer",
                {"help": "add a layer under [[encoder]] or [[decoder]]"},
            )
        return self

    def __eq__(self, other: object) -> bool:
        """Equal content; where it was written does not matter."""
        return self.__dict__ == other.__dict__ if isinstance(other, Spec) else NotImplemented

    __hash__ = None  # type: ignore[assignment]  # `input` and `output` are dicts

    @property
    def source_file(self) -> str:
        """The file the spec was read from; empty for one given as a dict."""
        return self._origins.file

    @property
    def plugin_files(self) -> tuple[PluginFile, ...]:
        """The plugins that were run, as they were; a run folder keeps them."""
        return self._plugin_files

    def locate(self, path: Path, *, key: bool = False) -> Span | None:
        """Where the author wrote the value (or the key) at a path such as `("encoder", 0, "kernel_size")`.

        A value that stands nowhere in the text (a default) gives the place of the table it belongs to.
        None when the spec has no text.
        """
        return self._origins.locate(path, key=key)

    def trail(self, path: Path, *, key: bool = False) -> tuple[Label, ...]:
        """How the value at a path came to be there: the labels of a diagnostic that points at it.

        Empty for a value that stands in the spec's own text as it is; else, for example, where the block
        that the value belongs to is used, or where the file that holds it is named in `extends`.
        """
        return self._origins.trail(path, key=key)

    def written(self, path: Path) -> Path:
        """The path, in the author's own file, of the value at a path of this flat spec.

        `("encoder", 7, "stride")` may be `("blocks", "double", "layers", 0, "stride")` there.
        """
        return self._origins.written(path)

    def taken_out(self, name: str) -> tuple[tuple[Label, ...], str]:
        """Labels and help about a missing layer that `remove` took out of the base; empty for any other."""
        return self._origins.taken_out(name)

    @property
    def source_files(self) -> tuple[str, ...]:
        """The files it was read from: its own, then what it extends; the order of diagnostics."""
        return self._origins.files

    @property
    def warnings(self) -> tuple[Diagnostic, ...]:
        """What is legal in its text but surely not meant, such as a variable that nothing uses."""
        return self._warnings


UNIONS: Mapping[tuple[str, ...], Mapping[str, type[BaseModel]]] = {
    ("encoder", "*"): ENTRIES,
    ("decoder", "*"): ENTRIES,
    ("train", "loss"): LOSSES,
    ("train", "optimizer"): OPTIMIZERS,
    ("data", "noise"): NOISES,
}
"""Where `type` chooses the model; `*` stands for any index."""

TABLES: Mapping[tuple[str | int, ...], type[BaseModel]] = {
    (): Spec,
    ("require",): Require,
    ("train",): TrainSpec,
    ("data",): DataSpec,
}
"""The other tables whose keys are fixed."""
