"""SGLang's encoders, except that a text's vector is the mean of its tokens' vectors.

SGLang 0.5.23 always takes the first token's, whatever the model's files say.
"""

from __future__ import annotations

import torch
from sglang.srt.layers.pooler import EmbeddingPoolerOutput, Pooler, PoolingType
from sglang.srt.model_executor.forward_batch_info import ForwardBatch
from sglang.srt.models import bert, roberta


class Mean(Pooler):
    """Computes in single precision, because the mean is a difference of two long sums."""

    def __init__(self) -> None:
        super().__init__(pooling_type=PoolingType.MEAN, normalize=True)

    def forward(
        self, hidden_states: torch.Tensor, forward_batch: ForwardBatch
    ) -> EmbeddingPoolerOutput:
        return super().forward(hidden_states.float(), forward_batch)


class BertModel(bert.BertModel):
    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.pooler = Mean()


class Contriever(BertModel):
    pass


class XLMRobertaModel(roberta.XLMRobertaModel):
    def __init__(self, **options: object) -> None:
        super().__init__(**options)
        self.pooler = Mean()


EntryClass = [BertModel, Contriever, XLMRobertaModel]
