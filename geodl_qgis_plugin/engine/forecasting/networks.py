"""The two networks: a small quantile LSTM for what the ridge leaves, and the classic LSTM with one dense output."""

from __future__ import annotations

import torch
from torch import Tensor, nn

QUANTILES = (0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95)


class AnomalyLSTM(nn.Module):
    """
    One small LSTM for all stations: from a window of anomalies to the quantiles of what the ridge leaves at every lead time.

    The head's weights begin at zero, so that training starts from the ridge with one fixed distribution a lead time; all that
    the network learns is a departure from it.

    Parameters
    ----------
    channels : int
        Channels of the input windows.
    horizon : int
        Lead times.
    hidden : int
        Units; stations are near copies of each other, and more than some 16 only learn them by heart.
    """

    def __init__(self, channels: int, horizon: int, hidden: int = 16, dropout: float = 0.3) -> None:
        super().__init__()
        self.horizon = horizon
        self.cell = nn.LSTM(channels, hidden, batch_first=True)
        self.dropout = dropout
        self.head = nn.Linear(hidden, horizon * len(QUANTILES))
        self.base = nn.Parameter(torch.zeros(horizon, len(QUANTILES)))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def drawn(self, count: int) -> Tensor:
        """Draw which units are dropped in training, for so many windows: 0, or what keeps the mean; (window, unit)."""
        return torch.empty(count, self.cell.hidden_size).bernoulli_(1 - self.dropout).div_(1 - self.dropout)

    def forward(self, windows: Tensor, keep: Tensor | None = None) -> Tensor:
        """Map (window, time, channel) to quantiles (window, lead, quantile) of what the ridge leaves."""
        states, _ = self.cell(windows)
        last = states[:, -1] if keep is None else states[:, -1] * keep
        departure: Tensor = self.head(last)  # (window, lead * quantile)
        return self.base + departure.view(-1, self.horizon, len(QUANTILES))


class ClassicLSTM(nn.Module):
    """
    The LSTM of the textbooks: 50 units with a ReLU, one dense output for the next step; further steps by feeding it back.

    As Keras' ``LSTM(50, activation="relu")`` and ``Dense(1)``: the gates are sigmoid and in the order input, forget, cell,
    output; candidate and output go through the ReLU, which PyTorch's own LSTM does not offer.
    """

    def __init__(self, units: int = 50, channels: int = 1) -> None:
        super().__init__()
        self.units = units
        self.kernel = nn.Parameter(nn.init.xavier_uniform_(torch.empty(channels, 4 * units)))
        self.recurrent = nn.Parameter(
            torch.cat([nn.init.orthogonal_(torch.empty(units, units)) for _ in range(4)], dim=1)
        )
        bias = torch.zeros(4 * units)
        bias[units : 2 * units] = 1.0  # a forget gate that starts open, as Keras has it
        self.bias = nn.Parameter(bias)
        self.dense = nn.Linear(units, 1)

    def drawn(self, count: int) -> None:
        """Nothing is dropped in training."""

    def forward(self, windows: Tensor, keep: None = None) -> Tensor:
        """Map (window, time, channel) to the next value (window,)."""
        hidden = windows.new_zeros(len(windows), self.units)
        state = torch.zeros_like(hidden)
        given = windows @ self.kernel + self.bias  # (window, time, 4 * units)
        for step in range(windows.shape[1]):
            enter, forget, candidate, leave = (given[:, step] + hidden @ self.recurrent).chunk(4, dim=1)
            state = torch.sigmoid(forget) * state + torch.sigmoid(enter) * torch.relu(candidate)
            hidden = torch.sigmoid(leave) * torch.relu(state)
        output: Tensor = self.dense(hidden)
        return output[:, 0]
