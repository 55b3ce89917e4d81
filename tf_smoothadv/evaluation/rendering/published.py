"""The numbers of the paper, to stand beside one's own."""

from __future__ import annotations

__all__ = ["Table", "on", "transferred"]

Table = dict[str, dict[str, tuple[float, float]]]

TABLES: dict[str, Table] = {  # tables 1 and 2: by dataset, network and attack P_suc and D
    "mnist": {
        "c4": {
            "fgsm": (0.89, 5.02),
            "ifgsm": (1.00, 2.69),
            "pgd2": (1.00, 1.71),
            "cw": (1.00, 2.49),
            "spgd2": (0.97, 3.36),
            "scw": (1.00, 1.97),
        },
        "c4_adversarial": {
            "fgsm": (0.15, 4.53),
            "ifgsm": (1.00, 3.48),
            "pgd2": (1.00, 2.52),
            "cw": (0.93, 3.03),
            "spgd2": (0.99, 2.94),
            "scw": (0.99, 2.39),
        },
    },
    "nips2017": {
        "inception_v3": {
            "fgsm": (0.97, 5.92),
            "ifgsm": (1.00, 5.54),
            "pgd2": (1.00, 1.80),
            "cw": (0.99, 4.91),
            "spgd2": (0.96, 2.10),
            "scw": (0.99, 3.00),
        },
        "resnet_v2_50": {
            "fgsm": (0.92, 8.20),
            "ifgsm": (0.99, 7.58),
            "pgd2": (1.00, 3.63),
            "cw": (0.99, 9.84),
            "spgd2": (0.93, 4.80),
            "scw": (0.98, 5.99),
        },
        "adv_inception_v3": {
            "fgsm": (0.06, 6.40),
            "ifgsm": (0.97, 29.94),
            "pgd2": (1.00, 3.89),
            "cw": (0.95, 6.43),
            "spgd2": (0.69, 7.86),
            "scw": (0.75, 6.22),
        },
    },
}

TRANSFERRED: dict[str, dict[str, tuple[float, float]]] = {  # table 3, from InceptionV3: by target and attack
    "bilateral+inception_v3": {
        "fgsm": (0.77, 5.13),
        "ifgsm": (0.82, 5.12),
        "pgd2": (1.00, 5.14),
        "cw": (0.82, 4.75),
        "spgd2": (0.95, 5.13),
        "scw": (0.68, 2.91),
    },
    "adv_inception_v3": {
        "fgsm": (0.04, 10.20),
        "ifgsm": (0.02, 10.10),
        "pgd2": (0.12, 10.26),
        "cw": (0.02, 10.21),
        "spgd2": (0.01, 10.17),
        "scw": (0.01, 4.63),
    },
}


def on(dataset: str, model: str) -> dict[str, tuple[float, float]]:
    """P_suc and D by attack; nothing where the paper does not have the network on the dataset.

    Args:
        dataset: "mnist", "nips2017", or any other.
        model: as `models.load` takes it; what `slim:NETWORK:CHECKPOINT` calls NETWORK counts.
    """
    return TABLES.get(dataset, {}).get(_network(model), {})


def transferred(dataset: str, source: str, target: str) -> dict[str, tuple[float, float]]:
    """P_suc and D by attack where table 3 has the target; arguments as for `on`."""
    if (dataset, _network(source)) != ("nips2017", "inception_v3"):
        return {}
    defence, plus, model = target.rpartition("+")
    return TRANSFERRED.get(defence + plus + _network(model), {})


def _network(model: str) -> str:
    return model.removeprefix("slim:").partition(":")[0] if model.startswith("slim:") else model
