"""Options of methods and scenarios."""

from pydantic import BaseModel, ConfigDict


class Options(BaseModel):
    """A frozen, validated set of options. The line under a field is its meaning in ``lifegen list NAME``."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)
