"""Classifiers with weights that nobody trained, as model files."""

import json

import numpy as np
import torch
from sklearn.ensemble import RandomForestClassifier

from geodl_qgis_plugin.engine.classes import classes_from_names
from geodl_qgis_plugin.engine.classification.classifier import load_classifier
from geodl_qgis_plugin.engine.classification.networks.intake import Intake
from geodl_qgis_plugin.engine.classification.prediction import receptive_halo_px
from geodl_qgis_plugin.engine.model_file import read_model, stac_item, write_model
from geodl_qgis_plugin.engine.rasters.grid import Grid
from tests.engine.planted import reference


def unsettled(architecture, bands, seed=0):
    """Return a net, or an ensemble of nets, whose weights, batch norms and scaling are those of no fresh net."""
    torch.manual_seed(seed)
    net = architecture.build()
    with torch.no_grad():
        for module in net.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.running_mean.normal_(0, 0.3)
                module.running_var.uniform_(0.5, 2)
                module.weight.uniform_(0.5, 2)
                module.bias.normal_(0, 0.3)
            if isinstance(module, Intake):
                module.offset.copy_(torch.linspace(2.0, 40.0, bands))
                module.scale.copy_(torch.linspace(1.0, 5.0, bands))
                module.derived_scale.uniform_(0.5, 2.0)
    return net


def grown(architecture, features, classes, seed=0):
    """Return a forest that was grown on made-up features."""
    generator = np.random.default_rng(seed)
    rows = generator.normal(20, 10, (400, features)).astype(np.float32)
    forest = RandomForestClassifier(5, max_depth=4, random_state=seed).fit(rows, generator.integers(0, classes, 400))
    net = architecture.build()
    net.trees.take([tree.tree_ for tree in forest.estimators_], np.arange(classes))
    return net


def write_classifier(path, architecture, bands, names, *, tile_size_px=64, pixel_m=30.0, crs=26912, seed=0, net=None):
    """Write a model file of an architecture of the registry and return it, loaded."""
    net = net or unsettled(architecture, len(bands), seed)
    halo = receptive_halo_px(net) if net.tile_size_px is None else 0
    grid = Grid(reference(crs).ExportToWkt(), (318000, pixel_m, 0, 4132000, 0, -pixel_m), 90, 70)
    part = {
        "architecture": architecture.as_dict(),
        "bands": [band.as_dict() for band in bands],
        "scaling": {
            "offset": torch.linspace(2.0, 40.0, len(bands)).tolist(),
            "scale": torch.linspace(1.0, 5.0, len(bands)).tolist(),
        },
        "classes": [one.as_dict() for one in classes_from_names(names)],
        "grid": grid.as_dict(),
        "halo_px": halo,
        "tile_size_px": tile_size_px,
    }
    item = stac_item(path.stem, None, {"geodl:kind": "classifier", "geodl:classifier": part})
    write_model(path, item, {name: value.numpy() for name, value in net.state_dict().items()})
    return load_classifier(path)


def told(model, report):
    """Return a model's weights, the report, and all of the model's description but what a clock says."""
    file = read_model(model)
    item = json.loads(json.dumps(file.item))
    del item["properties"]["datetime"]
    for check in item["properties"]["geodl:classifier"]["training"]["history"]:
        del check["seconds"]
    return file.weights, report.read_text(encoding="utf-8"), item
