"""Bad input is one line on stderr and exit status 2, and what lay there before stays.

The table: each row is a binary, its arguments and what the one line must say after "error: ". IN stands for the folder
of `inputs`, OUT for a new one; the arguments of DEFAULTS come first.
"""

from __future__ import annotations

import importlib.util
import io
import json
import pathlib
import re
import shutil
from collections.abc import Callable

import keras
import numpy as np
import PIL.Image
import pytest
import tensorflow as tf

import models
from tests.many_runs import Finished, here, outcomes
from tests.test_interruption import record
from tests.test_report import finished_run
from tf_smoothadv import metrics
from tf_smoothadv.evaluation import blind, records
from tf_smoothadv.evaluation.data import decoding, mnist

FULL = pathlib.Path("/dev/full")
DEFAULTS = {
    "eval.beam": "--output=OUT --num_images=2 --attacks=fgsm --model=IN/seven.keras --workers=1",
    "eval.white_box": "--output=OUT --num_images=2 --attacks=fgsm --model=IN/seven.keras",
    "eval.transfer": "--output=OUT --num_images=2 --attacks=fgsm --sources=IN/seven.keras --targets=IN/seven.keras",
    "eval.front": "--output=OUT --num_images=2 --gradients=2 --model=IN/seven.keras",
    "eval.referee": "--output=OUT --num_images=2 --model=IN/seven.keras",
    "eval.study": "",
    "eval.report": "",
    "eval.export": "",
    "eval.figures": "",
    "eval.magnify": "--output=OUT",
    "eval.merge": "--output=OUT",
    "eval.detect": "",
    "eval.blind": "",
    "models.convert_slim": "--network=resnet_v2_50 --checkpoint=nowhere.ckpt --output=OUT/model.keras",
    "models.train": "--output=OUT",
}
NIPS = "--num_images=1 --dataset=nips2017 --data=IN"
NET = "--model=IN/net.keras"

STUDY = """
output = "OUT"
[networks.seven]
model = "IN/seven.keras"
[datasets.digits]
num_images = 2
[attacks.fast]
attacks = ["fgsm"]
"""
# What is put in place of what in STUDY, and what is said of it.
STUDIES = {
    "cut": ("[networks", "[networks.", r"is no TOML: .*line 3"),
    "twice": ("num_images = 2", "num_images = 2\nnum_images = 3", "is no TOML: Cannot overwrite a value"),
    "empty": (STUDY, "", r"must have a table \[networks\.NAME\]"),
    "no_data": ("[datasets.digits]\nnum_images = 2\n", "", r"must have a table \[datasets\.NAME\]"),
    "no_attack": (
        "[attacks.fast]",
        "[networks.fast]",
        r"\[networks\.fast\]: unknown key 'attacks'; the keys are model, ",
    ),
    "nothing": (
        '[attacks.fast]\nattacks = ["fgsm"]',
        "",
        r"must have a table \[attacks\.NAME\] or \[fronts\.NAME\] or",
    ),
    "unknown": (
        'output = "OUT"',
        'folder = "OUT"',
        "unknown key 'folder'; the keys are output, save_images, jit_compile, ",
    ),
    "typo": (
        "num_images",
        "num_image",
        r"\[datasets\.digits\]: unknown key 'num_image'; the keys are dataset, data, num",
    ),
    "flat": ("[networks.seven]", "[networks]", r"networks must be tables, \[networks\.NAME\]"),
    "array": ("[networks.seven]", "[[networks.seven]]", r"networks must be tables, \[networks\.NAME\]"),
    "text": ("= 2", '= "2"', r"\[datasets\.digits\]: num_images must be an integer; received '2'"),
    "float": ("= 2", "= 2.5", r"\[datasets\.digits\]: num_images must be an integer; received 2\.5"),
    "zero": ("= 2", "= 0", r"\[datasets\.digits\]: num_images must be an integer of at least 1; received 0"),
    "true": ("= 2", "= 2\nvisibility = 1", r"\[datasets\.digits\]: visibility must be true or false; received 1"),
    "kind": ("= 2", '= 2\ndataset = "cifar"', r"\[datasets\.digits\]: dataset must be one of 'mnist', .*'cifar'"),
    "pairs": ('keras"', 'keras"\ninput_range = [0]', r"\[networks\.seven\]: input_range must be two numbers; received"),
    "range": (
        'keras"',
        'keras"\ninput_range = [1, 0]',
        r"\[networks\.seven\]: input_range must be two numbers, the first",
    ),
    "draws": (
        'keras"',
        'keras"\nsamples = 0',
        r"\[networks\.seven\]: samples must be an integer of at least 1; received 0",
    ),
    "folder": (
        "[networks.seven]",
        '[networks."../seven"]',
        r"\[networks\.\.\./seven\]: a name must be letters, digits",
    ),
    "one": ('["fgsm"]', '"fgsm"', r"\[attacks\.fast\]: attacks must be a list of texts; received 'fgsm'"),
    "none": ('["fgsm"]', "[]", r"\[attacks\.fast\]: attacks must name at least one; received none"),
    "lacks": ('attacks = ["fgsm"]', "", r"\[attacks\.fast\] must have the key attacks"),
    "attack": ('["fgsm"]', '["deepfool"]', r"\[attacks\.fast\], on digits: attack must be one of 'fgsm', .*'deepfool'"),
    "later": (
        '["fgsm"]',
        '["fmn"]\nsettings = "paper"',
        r"\[attacks\.fast\], on digits: attack must be one of .*'fmn'",
    ),
    "goal": ('["fgsm"]', '["fmn"]\nepsilon = 2', r"\[attacks\.fast\], on digits: epsilon is of attacks that have one"),
    "less": (
        '["fgsm"]',
        '["pgd2"]\nepsilon = -1',
        r"\[attacks\.fast\], on digits: epsilon must be a number in \(0, inf",
    ),
    "alpha": (
        '[attacks.fast]\nattacks = ["fgsm"]',
        '[fronts.fast]\nattacks = ["fmn"]\nalphas = [1]',
        r"\[fronts\.fast\], on digits: alpha must be a number in \[0, 1\); received 1",
    ),
    "premium": (
        "[attacks.fast]",
        "[fronts.fast]\npremium = 0.5",
        r"\[fronts\.fast\]: premium must be a number in \[1, inf",
    ),
    "pick": ("[attacks.fast]", '[fronts.fast]\npick = "best"', r"\[fronts\.fast\]: pick must be one of 'smoothest', "),
    "source": (
        "[attacks.fast]",
        '[transfers.fast]\nsources = ["c4"]\ntargets = ["seven"]',
        r"\[transfers\.fast\]: sources must be one of 'seven'; received 'c4'",
    ),
    "aimed": (
        "2\n[attacks.fast]",
        '2\ntargets = "next"\n[transfers.fast]\nsources = ["seven"]\ntargets = ["seven"]',
        r"\[datasets\.digits\]: a transfer has no targets and no predicted labels; 'fast' is one",
    ),
    "named": ("2\n", '2\nnetworks = ["eight"]\n', r"\[datasets\.digits\]: networks must be one of 'seven'; .*'eight'"),
    "shared": (
        "[attacks.fast]",
        '[fronts.fast]\nattacks = ["fmn"]\n[attacks.fast]',
        "attacks, fronts and transfers must have names of their own; two are 'fast'",
    ),
    "images": ("num_images = 2", 'dataset = "nips2017"', r"\[datasets\.digits\]: dataset 'nips2017' needs --data=PATH"),
    "many": (
        "= 2",
        "= 1000",
        r"\[datasets\.digits\]: the sample that ships with the project holds 200 test images, 1000",
    ),
}
FAILING = {
    "model": ("seven.keras", "none.keras", "model must be one of "),
    "wrong": ("seven.keras", "three.keras", "labels? must be"),
}

TABLE = [
    # flags
    ("eval.white_box", "--nosuch=1", "Unknown command line flag 'nosuch'.*--help tells the flags"),
    ("eval.white_box", "--model", "Missing value for flag --model"),
    ("eval.white_box", "extra", "unexpected arguments: extra"),
    ("eval.white_box", "--save_images=maybe", "--save_images=maybe"),
    ("eval.white_box", "--delivery=gif", "--delivery=gif: value should be one of <auto.none.8bit>"),
    ("eval.white_box", "--epsilon=-1", "--epsilon=-1"),
    ("eval.white_box", "--epsilons=1,x", "epsilons must be numbers; received 1,x"),
    ("eval.white_box", "--epsilons=0,1", "epsilons must be a number in .0, inf.; received 0.0"),
    ("eval.white_box", "--attacks=standard --gradients=9", "gradients is of attacks that have steps, such as fmn"),
    ("eval.white_box", "--attacks=fmn --epsilon=2", "epsilon is of attacks that have one, such as pgd2; received fmn"),
    ("eval.white_box", "--attacks=pgd2 --epsilon=2 --confidence=2", "confidence is of attacks that have one"),
    ("eval.white_box", "--attacks=pgd2 --confidence=2", "confidence is of attacks that have one, .* received pgd2"),
    ("eval.white_box", "--visibility=much", "--visibility=much"),
    ("eval.front", "--pick=best", "--pick=best: value should be one of <smoothest.ssimulacra2"),
    ("eval.front", "--pick=flip", "flip judges images of at least 67 pixels a side"),
    ("eval.white_box", "--num_images=0", "--num_images=0"),
    ("eval.white_box", "--num_images=-1", "--num_images=-1"),
    ("eval.white_box", "--batch_size=0", "batch_size must be 'auto' or an integer of at least 1"),
    ("eval.white_box", "--batch_size=1.5", "batch_size must be 'auto' or an integer of at least 1"),
    ("eval.white_box", "--devices=0", "devices must be 'all' or an integer of at least 1"),
    ("eval.white_box", "--devices=two", "devices must be 'all' or an integer of at least 1"),
    ("eval.white_box", "--devices=2", "devices must be set before TensorFlow begins with 1 of the CPU; received 2"),
    ("eval.white_box", "--image_size=0", "--image_size=0"),
    ("eval.white_box", "--shard=3/2", "shard must be i/n with i from 1 to n"),
    ("eval.white_box", "--shard=0/2", "shard must be i/n with i from 1 to n"),
    ("eval.white_box", "--shard=half", "shard must be i/n with i from 1 to n"),
    ("eval.white_box", "--shard=3/3", "part 3 of 3 holds none of the 2 images"),
    ("eval.white_box", "--dataset=cifar", "--dataset=cifar: value should be one of <"),
    ("eval.white_box", "--settings=best", "--settings=best: value should be one of <"),
    ("eval.white_box", "--labels=none", "--labels=none: value should be one of <"),
    ("eval.white_box", "--attacks=fgsm,deepfool", "attack must be one of 'fgsm', .* received 'deepfool'"),
    ("eval.white_box", "--attacks=", "attacks must name at least one attack; received none"),
    ("eval.white_box", "--num_images=1000", "the sample that ships with the project holds 200 test images, 1000 were"),
    (
        "eval.white_box",
        "--dataset=nips2017",
        "dataset 'nips2017' needs --data=PATH, where its images lie; received none",
    ),
    ("eval.white_box", "--image_size=14", r"the model takes images \(28, 28, 1\), these are \(14, 14, 1\): resize the"),
    ("eval.front", "--attacks=cw", "attack must be one of 'ddn', 'fmn', 'bp', 'alma', 'nfmn'; received 'cw'"),
    ("eval.front", "--attacks=", "attacks must name at least one attack; received none"),
    ("eval.front", "--alphas=", "alphas must name at least one alpha; received none"),
    ("eval.front", "--alphas=0,1", r"alpha must be a number in \[0, 1\); received 1.0"),
    ("eval.front", "--alphas=none", "alphas must be numbers; received none"),
    ("eval.front", "--premium=0.5", "--premium=0.5"),
    ("eval.white_box", "--gradients=0", "--gradients=0"),
    ("eval.white_box", "--gradients=2 --attacks=cw", "steps must be an integer of at least 1; received 0"),
    ("eval.front", "--gradients=0", "--gradients=0"),
    ("eval.front", "--gradients=11 --attacks=nfmn", "steps must be an integer of at least 1; received 0"),
    ("eval.front", "--settings=paper", "Unknown command line flag 'settings'"),
    ("eval.front", "--save_images", "Unknown command line flag 'save_images'"),
    ("eval.white_box", "--outputs=scores", "--outputs=scores: value should be one of <logits|"),
    ("eval.white_box", "--input_range=255", "input_range must be two numbers, the first below the second"),
    ("eval.white_box", "--input_range=0,128,255", "input_range must be two numbers, the first below the second"),
    ("eval.white_box", "--input_range=255,0", "input_range must be two numbers, the first below the second"),
    ("eval.white_box", "--input_range=black,white", "input_range must be two numbers, the first below the second"),
    ("eval.white_box", "--input_range=0,nan", "input_range must be two numbers, the first below the second"),
    ("eval.white_box", "--samples=0", "--samples=0"),
    ("eval.white_box", "--import=nowhere", "cannot import nowhere: ModuleNotFoundError: No module named 'nowhere'"),
    (
        "eval.white_box",
        "--import=json,IN/nowhere.py",
        r"cannot import IN/nowhere\.py: FileNotFoundError: .*No such file",
    ),
    ("eval.white_box", "--import=json --import=IN/text.py", r"cannot import IN/text\.py: SyntaxError: invalid syntax"),
    ("eval.transfer", "--import=nowhere", "cannot import nowhere: ModuleNotFoundError: No module named 'nowhere'"),
    ("eval.referee", "", r"name at least one folder of PNG files or \.npz file; received none"),
    ("eval.referee", "--attacks=fgsm IN/given/whole.npz", "Unknown command line flag 'attacks'"),
    ("eval.transfer", "other", "unexpected arguments: other"),
    ("eval.transfer", "--workers=2", "flags of Beam need --beam; received --workers"),
    (
        "eval.referee",
        "--store=OUT IN/given/whole.npz -- --region=here",
        "flags of Beam need --beam; received --store",
    ),
    ("eval.transfer", "--shard=3/2", "shard must be i/n with i from 1 to n"),
    ("eval.transfer", "--sources=", "sources must name at least one model; received none"),
    ("eval.transfer", "--targets=", "targets must name at least one model; received none"),
    ("eval.transfer", "--attacks=", "attacks must name at least one attack; received none"),
    ("eval.transfer", "--attacks=fgsm,deepfool", "attack must be one of 'fgsm', .*; received 'deepfool'"),
    ("eval.report", "", "folders must name at least one folder of results; received none"),
    ("eval.export", "", "name at least one folder of results; received none"),
    ("eval.export", "--format=xlsx IN/run", "--format=xlsx: value should be one of <parquet.csv>"),
    ("eval.export", "--kind=blind IN/run", "--kind=blind: value should be one of <white_box.transfer>"),
    ("eval.export", "missing", "missing holds no results of the kind 'white_box'"),
    ("eval.export", "--kind=transfer IN/run", "run holds results of the kind 'white_box', not 'transfer'"),
    ("eval.export", "IN/unfinished", r"unfinished holds an unfinished run: summary\.json is missing; give the command"),
    ("eval.export", "--output=/dev/full --format=csv IN/run", "cannot write /dev/full: No space left on device"),
    ("eval.study", "", "name one study's file, as --example prints one; received none"),
    ("eval.study", "IN/a.toml IN/b.toml", "name one study's file, as --example prints one; received IN/a"),
    ("eval.study", "--output=OUT IN/a.toml", "Unknown command line flag 'output'"),
    (
        "eval.study",
        "IN/a.toml --workers=2 -- --direct_num_workers=2",
        "flags of Beam need --beam; received --workers --direct_num",
    ),
    ("eval.study", "missing.toml", r"cannot read missing\.toml: No such file or directory"),
    ("eval.study", "IN/grey.png", r"grey\.png is no TOML: 'utf-8' codec can't decode"),
    ("eval.report", "--num_images=0 IN/run", "--num_images=0"),
    ("eval.figures", "", "folders must name at least one folder of results; received none"),
    ("eval.figures", "--formats= IN/run", "formats must name at least one file format; received none"),
    ("eval.figures", "--formats=word --output=OUT IN/run", "Format 'word' is not supported"),
    ("eval.figures", "--magnified=0 IN/run", "--magnified=0"),
    ("eval.figures", "--within=-1 IN/run", "--within=-1"),
    ("eval.magnify", "", "name at least one image file; received none"),
    ("eval.magnify", "--beta=2 IN/grey.png", "--beta=2"),
    ("eval.magnify", "--setting=best IN/grey.png", "--setting=best: value should be one of <"),
    ("eval.merge", "", "name the folders of all the shards; received none"),
    ("eval.detect", "", "name at least one folder of results; received none"),
    ("eval.detect", "--images=IN/run IN/run", "Unknown command line flag 'images'.*--help tells the flags"),
    *(("eval.study", f"IN/{name}.toml", rf"{name}\.toml.*{message}") for name, (*_, message) in STUDIES.items()),
    *(
        ("eval.study", f"IN/{name}.toml", f"1 of 1 runs failed, the first seven on digits, fast: {message}")
        for name, (*_, message) in FAILING.items()
    ),
    ("eval.blind", "", "name a folder of results; received none"),
    ("eval.blind", "--design=triple IN/run", "--design=triple: value should be one of <pair.single>"),
    ("eval.blind", "--seconds=-1 IN/run", "--seconds=-1"),
    ("eval.blind", "--seconds=nan IN/run", r"seconds must be a number in \[0, inf\); received nan"),
    ("eval.blind", "--zoom=0 IN/run", "--zoom=0"),
    ("eval.blind", "--zoom=1.5 IN/run", "--zoom=1.5"),
    ("eval.blind", "--num_images=0 IN/run", "--num_images=0"),
    ("eval.blind", "--catch=0.6 IN/run", "--catch=0.6"),
    ("eval.blind", "--attacks=fgsm IN/run", "attack must be one of 'cw', 'scw'; received 'fgsm'"),
    ("eval.blind", "IN/run IN/shard1", "one folder makes one page; received also .*: answers are scored by --score"),
    ("eval.blind", "--score", "name a folder of results; received none"),
    ("eval.blind", "--score IN/asked", "name the files of answers after the folder; received none"),
    ("eval.blind", "--score --catch_least=2 IN/asked x.json", "--catch_least=2"),
    (
        "eval.blind",
        "--score --catch_least=nan IN/asked x.json",
        r"catch_least must be a number in \[0, 1\]; received nan",
    ),
    ("models.convert_slim", "--network=vgg_16", "--network=vgg_16: value should be one of <"),
    ("models.convert_slim", "--output=OUT/model.h5", r"output must end in \.keras; received .*model\.h5"),
    ("models.train", "--training=robust", "--training=robust: value should be one of <"),
    ("models.train", "--epochs=0", "--epochs=0"),
    ("models.train", "--epsilon=-1", "--epsilon=-1"),
    ("models.train", "--learning_rate=-1", "--learning_rate=-1"),
    # images and their tables
    ("eval.white_box", "--data=missing.npz", r"no such file: missing\.npz"),
    ("eval.white_box", "--data=IN/pickled.npz", r"pickled\.npz is not a whole mnist\.npz .*allow_pickle=False"),
    ("eval.white_box", "--data=IN/eleven.npz", r"eleven\.npz .*: labels must be integers from 0 to 9; received int64"),
    ("models.train", "--data=missing.npz", r"no such file: missing\.npz"),
    ("models.train", "--data=IN/pickled.npz", r"pickled\.npz is not a whole mnist\.npz .*allow_pickle=False"),
    ("eval.white_box", f"{NIPS}/nowhere", r"no such file: .*nowhere/images\.csv"),
    ("eval.white_box", f"{NIPS}/no_column", r"images\.csv must have a column TrueLabel; its first line has"),
    ("eval.white_box", f"{NIPS}/twice", "line 3: every ImageId must be another; received 'a' again"),
    ("eval.white_box", f"{NIPS}/unknown", r"none of the 1 images of .*images\.csv is in .*images"),
    ("eval.white_box", f"{NIPS}/above", r"line 2: ImageId must be a plain file name; received '\.\./a'"),
    ("eval.white_box", f"{NIPS}/absolute", "line 2: ImageId must be a plain file name; received '/etc/a'"),
    ("eval.white_box", f"{NIPS}/class_1001", "line 2: TrueLabel must be an integer from 1 to 1000; received '1001'"),
    (
        "eval.white_box",
        f"{NIPS}/empty {NET}",
        "cannot read a of .*: cannot identify image file; it must be PNG, JPEG, BMP or WebP",
    ),
    ("eval.white_box", f"{NIPS}/truncated {NET}", "cannot read a of .*: .*truncated"),
    (
        "eval.white_box",
        f"{NIPS}/corrupt {NET}",
        "cannot read a of .*: cannot identify image file; it must be PNG, JPEG, BMP or WebP",
    ),
    ("eval.white_box", f"{NIPS}/transparent {NET}", "cannot read a of .*: it has transparent pixels; save it without"),
    ("eval.white_box", f"{NIPS}/small {NET}", r"the model takes images \(8, 8, 3\), these are \(5, 5, 3\): resize"),
    (
        "eval.white_box",
        f"{NIPS}/sizes {NET} --num_images=2",
        "b of .* is 5 x 5, those before it are 8 x 8; --image_size",
    ),
    ("eval.magnify", "missing.png", r"cannot read missing\.png: .*No such file or directory"),
    (
        "eval.magnify",
        "IN/empty/images/a.png",
        r"cannot read .*a\.png: cannot identify image file; it must be PNG, JPEG, BMP or WebP",
    ),
    ("eval.magnify", "IN/truncated/images/a.png", r"cannot read .*a\.png: .*truncated"),
    (
        "eval.magnify",
        "IN/transparent/images/a.png",
        r"cannot read .*a\.png: it has transparent pixels; save it without",
    ),
    ("eval.magnify", "IN/moving.webp", r"cannot read .*moving\.webp: it is an animation; save one of its frames"),
    (
        "eval.magnify",
        "IN/moving.gif",
        r"cannot read .*moving\.gif: cannot identify image file; it must be PNG, JPEG, BMP or WebP",
    ),
    (
        "eval.white_box",
        f"--num_images=1 --dataset=folder --data=IN/pictures {NET}",
        r"pictures must hold a folder of images \(\.png .* \.webp\) for each class; found none",
    ),
    (
        "eval.white_box",
        f"--num_images=1 --dataset=folder --data=IN/two_classes --image_size=8 {NET}",
        r"two_classes has 2 class folders, the model has 5 classes: write .*classes\.txt",
    ),
    (
        "eval.transfer",
        "--num_images=1 --dataset=folder --data=IN/two_classes --image_size=8 --sources=IN/net.keras",
        r"net\.keras: .*two_classes has 2 class folders, the model has 5 classes",
    ),
    ("eval.magnify", "IN/grey.png IN/grey.jpg", r"two pictures would be written to grey\.png"),
    # adversarial images
    ("eval.referee", "missing", "no such file or folder: missing"),
    ("eval.referee", "missing.npz", r"no such file or folder: missing\.npz"),
    ("eval.referee", "IN/grey.png", r"grey\.png must be a folder of PNG files or a \.npz file"),
    ("eval.referee", "IN/given/original", r"original: 'original' is what images are called before an attack"),
    (
        "eval.referee",
        "IN/given/whole.npz IN/given/small/../whole",
        r"whole\.npz and .*whole are both named whole: give one of them another name",
    ),
    ("eval.referee", "IN/given/none", r"none holds no PNG files; they are named like 00000\.png"),
    (
        "eval.referee",
        "IN/given/unknown",
        r"00002\.png is named like none of the dataset's 2 images, 00000 to 00001: --dataset, --data and --num_images",
    ),
    ("eval.referee", "IN/given/lossy", r"00000\.jpg is no PNG file: an adversarial image must be stored without loss"),
    ("eval.referee", "IN/given/disguised", r"00000\.png is no PNG file: an adversarial image must be stored"),
    ("eval.referee", "IN/given/bitmap", r"00000\.bmp is no PNG file: an adversarial image must be stored without loss"),
    ("eval.referee", "IN/given/deep", r"00000\.png has 16 bits a channel: an adversarial image must be stored with"),
    ("eval.referee", "IN/given/cut", r"cannot read .*cut/00000\.png: .*truncated"),
    (
        "eval.referee",
        "IN/given/small",
        r"00000\.png must be of the shape \(28, 28, 1\), like its original; received \(8, 8, 1\)",
    ),
    ("eval.referee", "IN/given/text.npz", r"text\.npz is no \.npz file with an array 'images': "),
    ("eval.referee", "IN/given/other.npz", r"other\.npz is no \.npz file with an array 'images': .*images"),
    ("eval.referee", "IN/given/objects.npz", r"objects\.npz is no \.npz file .*: Object arrays .*allow_pickle=False"),
    ("eval.referee", "IN/given/cut.npz", r"cut\.npz is no \.npz file with an array 'images': "),
    (
        "eval.referee",
        "IN/given/first.npz",
        r"must be \[N, 28, 28, 1\], like the originals; received \[2, 1, 28, 28\]; images\.transpose\(0, 2, 3, 1\)",
    ),
    ("eval.referee", "IN/given/flat.npz", r"must be \[N, 28, 28, 1\], like the originals; received \[2, 784\]$"),
    ("eval.referee", "IN/given/empty.npz", r"must be \[N, 28, 28, 1\], like the originals; received \[0, 28, 28, 1\]$"),
    ("eval.referee", "IN/given/integers.npz", r"must be uint8 or floats in \[0, 1\]; received int64"),
    ("eval.referee", "IN/given/nan.npz", r"must lie in \[0, 1\]; received values from nan to nan"),
    ("eval.referee", "IN/given/bright.npz", r"must lie in \[0, 1\]; received values from 0 to 255; divide 8-bit"),
    ("eval.referee", "IN/given/above.npz", r"must lie in \[0, 1\]; received values from 0 to 1\.0000001"),
    (
        "eval.referee",
        "IN/given/many.npz",
        r"image of index 2, the dataset has the indices 0 to 1: --num_images takes",
    ),
    ("eval.referee", "IN/given/before.npz", "image of index -1, the dataset has the indices 0 to 1"),
    ("eval.referee", "IN/given/again.npz", r"indices of .*again\.npz must differ; one of them comes twice"),
    (
        "eval.referee",
        "IN/given/halves.npz",
        r"halves\.npz must be integers \[2\], one an image; received float64 \[2\]",
    ),
    ("eval.referee", "IN/given/fewer.npz", r"fewer\.npz must be integers \[2\], one an image; received int64 \[1\]"),
    ("eval.referee", "--model=IN/wide.keras IN/given/whole.npz", r"the model takes images \(8, 8, 3\), these are"),
    ("eval.referee", "--output=IN/run IN/given/whole.npz", "IN/run holds results with images=.*, these would have"),
    (
        "eval.referee",
        "--model=IN/eight.keras IN/given/whole.npz",
        "the model classifies none of the 2 images correctly: nothing to",
    ),
    # models
    (
        "eval.white_box",
        "--model=missing.keras",
        "model must be one of c4, .* or the path of a model; received 'missing",
    ),
    ("eval.white_box", "--model=keras:AlexNet", "application must be one of .*; received 'AlexNet'"),
    ("eval.white_box", "--model=slim:resnet_v2_50", "cannot read a checkpoint from"),
    ("eval.white_box", "--model=IN/text.keras", r"cannot read a model from .*text\.keras: "),
    ("eval.white_box", "--model=IN/truncated.keras", r"cannot read a model from .*truncated\.keras: "),
    ("eval.white_box", "--model=IN/text.h5", r"cannot read a model from .*text\.h5: "),
    ("eval.white_box", "--model=IN/run", r"cannot read a model from .*run: "),
    ("eval.white_box", "--model=IN/lambda.keras", r"cannot read a model from .*lambda\.keras: .*`?Lambda`? layer"),
    ("eval.white_box", "--model=IN/lambda.h5", r"cannot read a model from .*lambda\.h5: .*`?Lambda`? layer"),
    (
        "eval.white_box",
        "--model=IN/own.keras",
        r"cannot read a model from .*own\.keras: Keras does not know its 'Own': name the module .*: --import=MODULE",
    ),
    (
        "eval.white_box",
        "--model=IN/silent",
        r"cannot read a model from .*silent: .* signature 'serving_default'; it has",
    ),
    (
        "eval.white_box",
        "--model=slim:resnet_v2_50:IN/checkpoints",
        r"cannot read a checkpoint from IN/checkpoints .*: the folder holds .*a\.ckpt, .*b\.ckpt; name one of them",
    ),
    (
        "eval.white_box",
        "--model=slim:resnet_v2_50:IN/checkpoints/a.ckpt.index",
        r"the checkpoint does not fit resnet_v2_50: it lacks",
    ),
    ("eval.white_box", "--model=IN/two.keras", "the model returns the outputs .*: take one by .* --output_name"),
    ("eval.white_box", "--output_name=a", "the model returns one output without a name; received output_name='a'"),
    ("eval.transfer", "--output_name=a", r"seven\.keras: the model returns one output without a name"),
    ("eval.white_box", "--model=IN/single.keras", r"it returned \(2, 1\); .*outputs='logit'"),
    ("eval.white_box", "--outputs=logit", "the model must return one logit an image, by outputs='logit'; it returned"),
    (
        "eval.white_box",
        "--outputs=probabilities",
        "rows that are non-negative and sum to 1, by outputs='probabilities'",
    ),
    (
        "eval.white_box",
        "--model=IN/bytes.keras --num_images=32",
        r"but 1\.000 for images in \[0, 255\] and labels \+0: say so: .* --input_range=0,255$",
    ),
    ("eval.white_box", "--model=IN/noise", "two calls on one image differ: .* the flag --samples=10"),
    (
        "eval.white_box",
        "--model=IN/steps",
        "the gradient of the model's margin is zero at 2 of 2 images: the model must be",
    ),
    ("eval.white_box", "--model=IN/softmax.keras --labels=predicted", "must return logits; .* take the softmax off"),
    (
        "eval.white_box",
        "--model=IN/nan.keras --labels=predicted",
        "the model must return finite logits; it returned NaN",
    ),
    (
        "eval.white_box",
        "--model=IN/wide.keras --labels=predicted",
        r"the model takes images \(8, 8, 3\), these are \(28",
    ),
    ("eval.white_box", "--model=IN/steps --labels=predicted", "the gradient of the model's margin is zero at 2 of 2"),
    ("eval.referee", "--model=IN/rank.keras --labels=predicted IN/given/whole.npz", r"to logits \[batch, classes\]"),
    ("eval.white_box", "--model=IN/rank.keras", r"to logits \[batch, classes\]; it returned \(2, 28, 28, 1\)"),
    ("eval.white_box", "--model=IN/softmax.keras", "must return logits; .* take the softmax off its last layer"),
    ("eval.white_box", "--model=IN/three.keras", "labels must be below the model's 3 classes; received 7"),
    ("eval.white_box", "--model=IN/wide.keras", r"the model takes images \(8, 8, 3\), these are \(28, 28, 1\)"),
    ("eval.white_box", "--model=IN/nan.keras", "the model must return finite logits; it returned NaN"),
    ("eval.white_box", "--model=IN/root", "the gradient of the model's margin is NaN or infinite at 2 of 2 images"),
    (
        "eval.white_box",
        "--model=IN/batch",
        "an image's logits change with the rest of its batch: let batch normalisation",
    ),
    ("eval.white_box", "--model=IN/eight.keras", "the model classifies none of the 2 images correctly: nothing to"),
    (
        "eval.transfer",
        "--targets=mean+c4",
        r"model must be one of c4, .*bilateral\+MODEL.* or .*; received 'mean'",
    ),
    ("eval.transfer", "--targets=bilateral+c5", "model must be one of c4, .*; received 'c5'"),
    ("eval.transfer", "--targets=slim:resnet_v2_50:missing.ckpt", r"cannot read a checkpoint from missing\.ckpt"),
    (
        "eval.transfer",
        "--targets=IN/twelve.keras",
        r"must have the same classes: .*seven\.keras has 10, .*twelve\.keras has 12",
    ),
    (
        "eval.transfer",
        "--sources=IN/wide.keras",
        r"wide\.keras: the model takes images \(8, 8, 3\), these are \(28, 28",
    ),
    (
        "eval.transfer",
        "--sources=IN/eight.keras",
        r"eight\.keras classifies none of the 2 images correctly",
    ),
    ("models.convert_slim", "", r"cannot read a checkpoint from nowhere\.ckpt"),
    ("models.convert_slim", "--checkpoint=IN/text.keras", r"cannot read a checkpoint from .*text\.keras"),
    # where results go
    (
        "eval.white_box",
        "--output=/dev/null/results",
        "cannot write to /dev/null/results: Not a directory; name another",
    ),
    ("eval.white_box", "--output=IN/grey.png", r"cannot write to .*grey\.png: File exists; name another folder"),
    ("eval.white_box", "--tensorboard=IN/grey.png", r"cannot write to .*grey\.png: File exists; name another folder"),
    ("eval.white_box", "--output=IN/no_images --save_images", r"cannot write .*no_images/images/.*00000\.png: "),
    (
        "eval.white_box",
        "--output=IN/full",
        r"cannot write .*records\.jsonl: No space left on device; make room .* same",
    ),
    ("eval.white_box", "--output=IN/run", "IN/run holds results with images=.*, these would have images="),
    ("eval.white_box", "--output=IN/damaged", r"settings\.json is damaged: .*; restore it, or make the results anew"),
    ("eval.white_box", "--output=IN/many", r"batch_size in .*settings\.json must be an integer .*; received 'many'"),
    ("eval.transfer", "--output=/dev/null/results", "cannot write to /dev/null/results: Not a directory; name another"),
    ("eval.report", "--output=IN IN/run", "cannot write IN: Is a directory; .* name another --output"),
    ("eval.report", "--output=/dev/full IN/run", "cannot write /dev/full: No space left on device; make room"),
    ("eval.figures", "--output=IN/grey.png IN/run", r"cannot write to .*grey\.png: File exists; name another folder"),
    ("eval.magnify", "--output=IN/grey.png IN/grey.png", r"cannot write to .*grey\.png: File exists; name another"),
    (
        "eval.merge",
        "--output=IN/grey.png IN/shard1 IN/shard2",
        r"cannot write to .*grey\.png: File exists; name another",
    ),
    (
        "models.convert_slim",
        "--output=IN/grey.png/model.keras",
        r"cannot write to .*grey\.png: File exists; name another",
    ),
    (
        "models.train",
        "--output=IN/grey.png --data=IN/digits.npz",
        r"cannot write to .*grey\.png: File exists; name another",
    ),
    # folders of results
    ("eval.report", "missing", r"missing holds no results of eval\.white_box: records\.jsonl is missing"),
    ("eval.report", "IN/grey.png", r"grey\.png holds no results of eval\.white_box: records\.jsonl is missing"),
    ("eval.report", "IN/unfinished", r"unfinished holds an unfinished run: summary\.json is missing; give the command"),
    ("eval.report", "IN/line", r"records\.jsonl, line 3 is no record: .*; delete the line, and the command"),
    ("eval.report", "IN/lacks", r"records\.jsonl, line 2 is no record: it lacks computed; delete the line"),
    ("eval.report", "IN/transfer", r"does not hold results as eval\.transfer writes them: it lacks dataset"),
    (
        "eval.report",
        "IN/shrunk",
        r"00000\.png must be of the shape \(8, 8, 1\), like its original; received \(4, 4, 1\)",
    ),
    ("eval.figures", "missing", r"missing holds no results of eval\.white_box: records\.jsonl is missing"),
    (
        "eval.figures",
        "IN/shrunk",
        r"00000\.png must be of the shape \(8, 8, 1\), like its original; received \(4, 4, 1\)",
    ),
    ("eval.detect", "missing", r"missing holds no results of eval\.white_box: records\.jsonl is missing"),
    ("eval.detect", "IN/unfinished", r"unfinished holds an unfinished run: summary\.json is missing; give the command"),
    ("eval.detect", "IN/transfer", r"transfer holds no results of eval\.white_box|transfer does not hold results as"),
    (
        "eval.detect",
        "IN/run",
        r"needs an attack that succeeds on at least 100 images; in .*run cw on \d+, scw on \d+: attack more images",
    ),
    ("eval.blind", "missing", r"missing holds no results of eval\.white_box: records\.jsonl is missing"),
    ("eval.blind", "IN/unfinished", r"unfinished holds an unfinished run: summary\.json is missing; give the command"),
    ("eval.blind", "--output=IN IN/run", "cannot write IN: Is a directory; .* name another --output"),
    ("eval.blind", "--output=/dev/full IN/run", "cannot write /dev/full: No space left on device; make room"),
    ("eval.blind", "--score missing x.json", r"missing holds no results of eval\.white_box: records\.jsonl is missing"),
    (
        "eval.blind",
        "--score IN/run x.json",
        r"cannot read .*run/blind\.html: No such file or directory; --output names",
    ),
    ("eval.blind", "--score --output=IN/text.py IN/asked x.json", r"text\.py is no page of eval\.blind: it holds no"),
    ("eval.blind", "--score --output=IN/grey.png IN/asked x.json", r"grey\.png is no page of eval\.blind: "),
    ("eval.blind", "--score --output=IN/asked/blind.html IN/transfer x.json", r"transfer holds no results of eval"),
    ("eval.blind", "--score IN/asked missing.json", r"cannot read missing\.json: No such file or directory"),
    (
        "eval.blind",
        "--score IN/asked IN/asked/cut.json",
        r"cut\.json is not what the page saved; ask its observer for the",
    ),
    (
        "eval.blind",
        "--score IN/asked IN/asked/list.json",
        r"list\.json is not what the page saved.*: it must hold a JSON",
    ),
    ("eval.blind", "--score IN/asked IN/asked/lacks.json", r"lacks\.json is not what the page saved.*: it lacks seed"),
    (
        "eval.blind",
        "--score IN/asked IN/asked/version.json",
        r"version\.json .*: its version is 2, this program reads 1",
    ),
    ("eval.blind", "--score IN/asked IN/asked/unknown.json", r"unknown\.json .*: the page does not ask so often about"),
    ("eval.blind", "--score IN/asked IN/asked/other.json", r"other\.json holds answers to another page than .*blind\."),
    (
        "eval.blind",
        "--score IN/asked IN/asked/ann.json IN/asked/again.json",
        r"ann\.json and .*again\.json hold the same answers, of 'ann': leave one out",
    ),
    (
        "eval.blind",
        "--score --output=IN/asked/blind.html IN/shard_other IN/asked/ann.json",
        r"shows cw, an attack that .*shard_other does not have: name the page's own folder",
    ),
    (
        "eval.blind",
        "--score IN/asked IN/asked/asleep.json",
        r"no answers are left; less than 0\.75 of their catch trials right had ann \(0 of 1\)",
    ),
    (
        "eval.report",
        "IN/blinded",
        r"blind\.json is not what eval\.blind writes for this folder: it lacks .*; python -m",
    ),
    ("eval.merge", "IN/run", r"run holds no results of a --shard=i/n"),
    ("eval.merge", "IN/shard1", "all the shards of one run must be named; received 1/2, without 2/2"),
    ("eval.merge", "IN/shard1 IN/shard1_again", "shard1 and .*shard1_again both hold shard 1/2"),
    (
        "eval.merge",
        "IN/shard1 IN/other_shard2",
        "shards of one run must have the same settings: .*model='c4', .*model='own",
    ),
    ("eval.merge", "IN/shard1 IN/long_shard2", "shards of 7 images must have 4, 3 of them; these have 3, 4: give each"),
    ("eval.merge", "IN/shard1 IN/damaged", r"settings\.json is damaged: .*; restore it, or make the results anew"),
    ("eval.merge", "IN/shard1 IN/shard2", r"does not hold the examples of cw, scw: Object arrays .*allow_pickle=False"),
]
BEAM = [
    ("eval.beam", "--workers=0", "--workers=0"),
    ("eval.beam", "--threads=0", "--threads=0"),
    ("eval.beam", "extra", "unexpected arguments: extra; flags of Beam stand after --, as --NAME=VALUE"),
    ("eval.beam", "-- --nosuch=1", "after -- there must be flags of Beam; it does not know nosuch"),
    ("eval.beam", "--runner=Fast", "runner must be 'local' or the name of one of Beam's: Unexpected pipeline runner"),
    ("eval.beam", "--alphas=0,x", "alphas must be numbers; received 0,x"),
    ("eval.beam", "--maskings=eye", "maskings are beside alphas"),
    ("eval.beam", "--store=nowhere://away", "Unable to get filesystem from specified path"),
    ("eval.beam", "--store=IN/grey.png", r"cannot write .*grey\.png/shards/.*: Not a directory; make room there or"),
    ("eval.beam", "--output=IN/run", "IN/run holds results with "),
    ("eval.beam", "--model=IN/nan.keras", "the model must return finite logits; it returned NaN"),
    ("eval.beam", f"{NIPS}/truncated {NET}", "none of the 1 images of .*truncated can be read: cannot read a of"),
    ("eval.beam", f"{NIPS}/nowhere", r"no such file: .*nowhere/images\.csv"),
    (
        "eval.white_box",
        "--dataset=folder --data=nowhere://away",
        "cannot list nowhere://away: Unable to get filesystem",
    ),
    (
        "eval.white_box",
        "--dataset=tfrecord --data=gs://away",
        "TFRecord files must lie on this machine, or where it is",
    ),
]
if importlib.util.find_spec("apache_beam"):
    TABLE += BEAM


def command(binary: str, arguments: str, folder: pathlib.Path, output: pathlib.Path) -> list[str]:
    words = f"{DEFAULTS[binary]} {arguments}".replace("OUT", str(output)).replace("IN", str(folder))
    return [binary, *words.split()]


class Touch:
    """What whoever unpickles it does."""

    def __init__(self, path: pathlib.Path) -> None:
        self.path = path

    def __reduce__(self):
        return pathlib.Path.touch, (self.path,)


def encoded(image: PIL.Image.Image, kind: str) -> bytes:
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def png(pixels: np.ndarray) -> bytes:
    return encoded(PIL.Image.fromarray(pixels), "PNG")


def nips(root: pathlib.Path, table: str, **images: bytes) -> None:
    (root / "images").mkdir(parents=True)
    (root / "images.csv").write_bytes(table.encode())
    for name, content in images.items():
        (root / "images" / f"{name}.png").write_bytes(content)


def dense(classes: int, shape: tuple[int, ...] = (28, 28, 1), always: int = 0) -> keras.Model:
    """A network that has little doubt about the class that it always names."""
    model = keras.Sequential([keras.Input(shape), keras.layers.Flatten(), keras.layers.Dense(classes)])
    noise = 1e-3 * np.random.default_rng(0).normal(size=(np.prod(shape), classes))
    model.set_weights([noise, 10.0 * (np.arange(classes) == always)])
    return model


def save_function(path: pathlib.Path, function) -> None:
    module = tf.Module()
    module.serve = tf.function(function, input_signature=[tf.TensorSpec([None, 28, 28, 1])])
    tf.saved_model.save(module, str(path))


def make_images(folder: pathlib.Path) -> None:
    rng = np.random.default_rng(0)
    color = rng.integers(0, 256, (8, 8, 3), np.uint8)
    small = color[:5, :5]
    whole = png(color)
    row = "ImageId,TrueLabel\n"
    nips(folder / "no_column", "ImageId,Label\na,1\n", a=whole)
    nips(folder / "twice", row + "a,1\na,2\n", a=whole)
    nips(folder / "unknown", row + "b,1\n", a=whole)
    nips(folder / "above", row + "../a,1\n", a=whole)
    nips(folder / "absolute", row + "/etc/a,1\n", a=whole)
    nips(folder / "class_1001", row + "a,1001\n", a=whole)
    nips(folder / "empty", row + "a,1\n", a=b"")
    nips(folder / "truncated", row + "a,1\n", a=whole[:100])
    nips(folder / "corrupt", row + "a,1\n", a=whole[::-1])
    nips(folder / "transparent", row + "a,1\n", a=png(np.dstack([color, color[..., 0]])))
    nips(folder / "small", row + "a,1\n", a=png(small))
    nips(folder / "sizes", row + "a,1\nb,1\n", a=whole, b=png(small))
    images = {f"i{number:02d}": png(np.roll(color, number)) for number in range(33)}
    nips(folder / "late", row + "".join(f"{name},1\n" for name in images), **{**images, "i32": whole[:100]})
    nips(
        folder / "fine",
        "\ufeff" + row.replace("\n", "\r\n") + "".join(f"{name},1\r\n" for name in ("grey", "deep", "cmyk", "opaque")),
        grey=png(color[..., 0]),
        deep=png(color[..., 0].astype(np.uint16) * 257),
        cmyk=encoded(PIL.Image.fromarray(color).convert("CMYK"), "JPEG"),
        opaque=png(np.dstack([color, 255 + 0 * color[..., 0]])),
    )
    for name in "ab":
        (folder / "two_classes" / name).mkdir(parents=True)
        (folder / "two_classes" / name / "image.png").write_bytes(whole)
    (folder / "checkpoints").mkdir()
    for name in "ab":
        tf.raw_ops.SaveV2(
            prefix=str(folder / "checkpoints" / f"{name}.ckpt"),
            tensor_names=["global_step"],
            shape_and_slices=[""],
            tensors=[tf.constant(7)],
        )
    (folder / "grey.png").write_bytes(png(color[..., 0]))
    (folder / "grey.jpg").write_bytes(encoded(PIL.Image.fromarray(color[..., 0]), "JPEG"))
    for kind in ("webp", "gif"):
        frames = [PIL.Image.fromarray(np.roll(color, number)) for number in range(2)]
        frames[0].save(folder / f"moving.{kind}", save_all=True, append_images=frames[1:])
    (folder / "pictures" / "class").mkdir(parents=True)
    shutil.copy(folder / "moving.gif", folder / "pictures" / "class")

    pixels, labels = rng.integers(0, 256, (4, 28, 28), np.uint8), np.arange(4)
    parts = {"x_train": pixels, "y_train": labels, "x_test": pixels, "y_test": labels}
    np.savez(folder / "digits.npz", **parts)
    np.savez(folder / "eleven.npz", **{**parts, "y_test": labels + 8})
    bait = np.array([Touch(folder / "unpickled")], object)
    np.savez(folder / "pickled.npz", **{**parts, "x_train": bait, "x_test": bait})


def make_given(folder: pathlib.Path) -> None:
    """Adversarial images for two digits."""
    images = np.random.default_rng(0).integers(0, 256, (2, 28, 28, 1), np.uint8)
    whole = png(images[0, ..., 0])
    photograph = encoded(PIL.Image.fromarray(images[0, ..., 0]), "JPEG")
    for name, file, content in (
        ("original", "00000.png", whole),
        ("whole", "00000.png", whole),
        ("none", "00000.txt", b""),
        ("unknown", "00002.png", whole),
        ("lossy", "00000.jpg", photograph),
        ("disguised", "00000.png", photograph),
        ("bitmap", "00000.bmp", encoded(PIL.Image.fromarray(images[0, ..., 0]), "BMP")),
        ("deep", "00000.png", png(images[0, ..., 0].astype(np.uint16) * 257)),
        ("cut", "00000.png", whole[:100]),
        ("small", "00000.png", png(images[0, :8, :8, 0])),
    ):
        (folder / name).mkdir(parents=True)
        (folder / name / file).write_bytes(content)

    scaled = images / 255
    for name, arrays in {
        "whole": {"images": images},
        "other": {"adversarial": images},
        "objects": {"images": np.array([Touch(folder.parent / "unpickled")], object)},
        "first": {"images": images.transpose(0, 3, 1, 2)},
        "flat": {"images": images.reshape(2, 784)},
        "empty": {"images": images[:0]},
        "integers": {"images": images.astype(np.int64)},
        "nan": {"images": np.where(scaled > 0.5, np.nan, scaled)},
        "bright": {"images": images.astype(np.float32)},
        "above": {"images": np.where(images == images.max(), np.nextafter(np.float32(1), 2), scaled)},
        "many": {"images": images[[0, 1, 0]]},
        "before": {"images": images, "indices": [0, -1]},
        "again": {"images": images, "indices": [1, 1]},
        "halves": {"images": images, "indices": [0.0, 1.0]},
        "fewer": {"images": images, "indices": [1]},
    }.items():
        np.savez(folder / f"{name}.npz", **arrays)
    (folder / "text.npz").write_text("no arrays at all")
    content = (folder / "whole.npz").read_bytes()
    (folder / "cut.npz").write_bytes(content[: len(content) // 2])


def make_models(folder: pathlib.Path) -> None:
    dense(5, (8, 8, 3)).save(folder / "net.keras")
    dense(10, (8, 8, 3)).save(folder / "wide.keras")
    dense(3).save(folder / "three.keras")
    dense(12).save(folder / "twelve.keras")
    dense(10, always=7).save(folder / "seven.keras")  # which the first digit is, the second is not
    dense(10, always=8).save(folder / "eight.keras")  # which neither is
    nan = dense(10)
    nan.set_weights([weights * np.nan for weights in nan.get_weights()])
    nan.save(folder / "nan.keras")
    images = keras.Input((28, 28, 1))
    keras.Model(images, keras.layers.Rescaling(2.0)(images)).save(folder / "rank.keras")
    layers = [keras.layers.Softmax(), keras.layers.Activation("linear")]
    keras.Sequential([keras.Input((28, 28, 1)), *dense(10).layers, *layers]).save(folder / "softmax.keras")
    secret = keras.Sequential([keras.Input((28, 28, 1)), keras.layers.Lambda(lambda x: x[:, 0, :10, 0])])
    for suffix in ("keras", "h5"):
        secret.save(folder / f"lambda.{suffix}")
        (folder / f"text.{suffix}").write_text("no model at all")
    images = keras.Input((28, 28, 1))
    keras.Model(images, [dense(10)(images), dense(10)(images)]).save(folder / "two.keras")
    dense(1).save(folder / "single.keras")
    keras.Model(images, models.c4()(keras.layers.Rescaling(1 / 255)(images))).save(folder / "bytes.keras")

    class Own(keras.layers.Layer):
        def call(self, x: tf.Tensor) -> tf.Tensor:
            return 2 * x

    keras.Sequential([keras.Input((28, 28, 1)), Own(), *dense(10).layers]).save(folder / "own.keras")
    (folder / "text.py").write_text("no module at all")
    whole = (folder / "net.keras").read_bytes()
    (folder / "truncated.keras").write_bytes(whole[: len(whole) // 2])
    kernel = tf.constant(np.random.default_rng(0).normal(size=(784, 10)), tf.float32)

    def logits(x: tf.Tensor) -> tf.Tensor:
        return tf.reshape(x, [-1, 784]) @ kernel

    tf.saved_model.save(tf.Module(), str(folder / "silent"))
    save_function(folder / "noise", lambda x: logits(x + tf.random.normal(tf.shape(x), stddev=0.1)))
    save_function(folder / "steps", lambda x: logits(tf.round(4 * x)))
    save_function(folder / "root", lambda x: logits(tf.sqrt(x)))
    save_function(folder / "batch", lambda x: logits(x - tf.reduce_mean(x, axis=0)) + logits(x))


def make_results(folder: pathlib.Path) -> None:
    originals = np.random.default_rng(0).integers(0, 256, (4, 8, 8, 1), np.uint8)
    run = finished_run(folder / "run", originals)
    lines = (run / records.RECORDS).read_text().splitlines()
    for name in ("unfinished", "line", "lacks", "shrunk"):
        shutil.copytree(run, folder / name)
    (folder / "unfinished" / records.SUMMARY).unlink()
    (folder / "line" / records.RECORDS).write_text("\n".join([*lines[:2], lines[2][:30], *lines[3:]]) + "\n")
    lacking = {name: value for name, value in json.loads(lines[1]).items() if name != "computed"}
    (folder / "lacks" / records.RECORDS).write_text("\n".join([lines[0], json.dumps(lacking), *lines[2:]]) + "\n")
    (folder / "shrunk" / records.IMAGES / "cw" / "00000.png").write_bytes(png(originals[0, :4, :4, 0]))

    settings = {**records.settings_of(run), "model": "c4", "dataset": "mnist", "settings": "tuned", "levels": None}
    for name, model, shard, count in (
        ("shard1", "c4", "1/2", 3),
        ("shard1_again", "c4", "1/2", 3),
        ("shard2", "c4", "2/2", 3),
        ("other_shard2", "own.keras", "2/2", 3),
        ("long_shard2", "c4", "2/2", 4),
    ):
        part = finished_run(folder / name, originals[:count])
        names = [f"{number:05d}" for number in range(count)]
        records.write(part / records.SETTINGS, {**settings, "model": model, "shard": shard, "images": names})
    examples = folder / "shard1" / "examples"
    examples.mkdir()
    np.save(examples / "original.npy", np.array([Touch(folder / "unpickled")], object))

    for name in ("damaged", "many", "no_images", "full", "transfer"):
        (folder / name).mkdir()
    (folder / "damaged" / records.SETTINGS).write_text("{")
    records.write(folder / "many" / records.SETTINGS, {"batch_size": "many"})
    (folder / "no_images" / records.IMAGES).write_text("a file where a folder shall be")
    (folder / "full" / records.RECORDS).symlink_to(FULL)
    (folder / "transfer" / records.TRANSFER).write_text("{}")


def make_answers(folder: pathlib.Path) -> None:
    """A run with the page of a blind test, and answers to it."""
    asked = shutil.copytree(folder / "run", folder / "asked")
    finished_run(folder / "shard_other", np.zeros((2, 8, 8, 1), np.uint8), attacks=("fgsm", "scw"))
    records.write(shutil.copytree(folder / "run", folder / "blinded") / records.BLIND, {})
    blind.make(asked)
    page = records.read_experiment(asked / blind.PAGE)
    trials = [
        {**{key: one[key] for key in ("attack", "image", "catch")}, "truth": "left", "answer": "left", "ms": 800}
        for one in page.trials
    ]
    values = {key: getattr(page, key) for key in ("version", "identity", "design", "seconds", "zoom", "magnified")}
    values |= {"pseudonym": "ann", "seed": "1", "device_pixel_ratio": 1, "screen": [800, 600], "planned": len(trials)}
    values |= {"trials": trials}
    for name, content in {
        "ann": values,
        "again": values,
        "list": [values],
        "lacks": {name: value for name, value in values.items() if name != "seed"},
        "version": values | {"version": 2},
        "other": values | {"identity": 64 * "0"},
        "unknown": values | {"trials": [trials[0] | {"image": "none"}]},
        "asleep": values | {"trials": [one | {"answer": "right"} for one in trials]},
    }.items():
        (asked / f"{name}.json").write_text(json.dumps(content))
    (asked / "cut.json").write_text(json.dumps(values)[:-20])


def make_studies(folder: pathlib.Path) -> None:
    for name, (old, new, _) in {**STUDIES, **FAILING}.items():
        assert old in STUDY
        text = STUDY.replace(old, new).replace("IN", str(folder)).replace("OUT", str(folder / "studies" / name))
        (folder / f"{name}.toml").write_text(text)


def contents(folder: pathlib.Path) -> dict[pathlib.Path, bytes]:
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("inputs")
    make_images(folder)
    make_models(folder)
    make_given(folder / "given")
    make_results(folder)
    make_answers(folder)
    make_studies(folder)
    before = contents(folder)
    yield folder
    after = contents(folder)
    assert {path: after.get(path) for path in before} == before  # whatever was refused, nothing is lost
    assert not (folder / "unpickled").exists()


def assert_refused(outcome: Finished, message: str, folder: pathlib.Path) -> None:
    assert outcome.status == 2, outcome.stderr
    (line,) = outcome.stderr.splitlines()
    assert re.match(f"error: .*{message.replace('IN', re.escape(str(folder)))}", line), line


@pytest.mark.parametrize(("binary", "arguments", "message"), TABLE)
def test_one_line_and_status_2(binary, arguments, message, inputs, tmp_path):
    if not FULL.exists() and "full" in arguments:
        pytest.skip("needs /dev/full")
    assert_refused(here(*command(binary, arguments, inputs, tmp_path)), message, inputs)


@pytest.mark.slow
def test_of_processes_too(inputs, tmp_path):
    """A row of each binary, run as a user runs it; and an error with its traceback."""
    rows = list({row[0]: row for row in TABLE}.values())
    commands = [command(*row[:2], inputs, tmp_path) for row in rows]
    *refused, debugged = outcomes([*commands, ["eval.white_box", "--debug", "--data=missing.npz"]])
    for row, outcome in zip(rows, refused):
        assert_refused(outcome, row[2], inputs)
    assert debugged.status == 1
    assert "Traceback" in debugged.stderr
    assert debugged.stderr.splitlines()[-1] == "ValueError: no such file: missing.npz"


def test_the_table_has_no_row_twice():
    assert len({row[:2] for row in TABLE}) == len(TABLE) >= 60


def test_grey_16_bits_cmyk_opaque_alpha_and_other_line_ends_work(inputs, tmp_path):
    flags = f"--dataset=nips2017 --data=IN/fine --num_images=4 {NET}"
    outcome = here(*command("eval.white_box", flags, inputs, tmp_path))
    assert outcome.status == 0, outcome.stderr
    assert json.loads((tmp_path / records.SUMMARY).read_text())["num_correct"] == 4


def test_what_was_computed_before_an_error_stays(inputs, tmp_path):
    """The 33rd image cannot be read; the records of the 32 before it are whole."""
    flags = f"--dataset=nips2017 --data=IN/late --num_images=33 --batch_size=32 {NET}"
    outcome = here(*command("eval.white_box", flags, inputs, tmp_path))
    assert outcome.status == 2, outcome.stderr
    assert re.search("^error: cannot read i32 of .*: .*truncated", outcome.stderr)
    made = records.Results(tmp_path, records.settings_of(tmp_path), metrics.Record)
    made.close()
    assert made.done == {("fgsm", image) for image in range(32)}


def test_help_is_no_error():
    outcome = here("eval.white_box", "--helpshort")
    assert outcome.status == 0
    assert "--num_images: How many test images" in outcome.stdout
    assert "error" not in outcome.stderr


SCORE = {"success": True, "distortion": 1.0, "smoothness_energy": 0.1, "prediction": 1}


def spoilt(line: int, **changes: object) -> Callable[[pathlib.Path], None]:
    """A function that changes a record of a folder, or leaves its field out for None."""

    def spoil(folder: pathlib.Path) -> None:
        rows = [json.loads(text) for text in (folder / records.RECORDS).read_text().splitlines()]
        row = rows[line - 1] | changes
        rows[line - 1] = {name: value for name, value in row.items() if changes.get(name, ...) is not None}
        (folder / records.RECORDS).write_text("".join(json.dumps(row) + "\n" for row in rows))

    return spoil


def summarised(**changes: object) -> Callable[[pathlib.Path], None]:
    def spoil(folder: pathlib.Path) -> None:
        summary = json.loads((folder / records.SUMMARY).read_text())
        (folder / records.SUMMARY).write_text(json.dumps(summary | changes))

    return spoil


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            spoilt(2, computed={**SCORE, "success": 1}),
            "line 2 is no record: computed: success must be of the type bool",
        ),
        (spoilt(2, index=True), r"line 2 is no record: index must be of the type int; received True"),
        (spoilt(1, attack=None), r"line 1 is no record: it lacks attack"),
        (
            spoilt(1, delivered={**SCORE, "distortion": 10**400}),
            "line 1 .*: delivered: distortion must be of the type float",
        ),
        (spoilt(1, delivered=[1]), r"line 1 is no record: delivered must hold values by name; received \[1\]"),
        (spoilt(1, delivered={}), "line 1 is no record: delivered: it lacks success"),
        (spoilt(2, trace="3"), r"line 2 is no record: trace must be of the type tuple\[.*\]; received '3'"),
        (spoilt(2, trace=[[3, 1.5, 2]]), r"line 2 is no record: trace must be of the type .* \[\[3, 1.5, 2\]\]"),
        (spoilt(2, trace=[[3.0, 1.5]]), r"line 2 is no record: trace must be of the type .* \[\[3.0, 1.5\]\]"),
        (spoilt(2, trace=[[3, 1.5], [3, 1.0]]), "line 2 is no record: trace must have rising gradients, from 0 to 101"),
        (spoilt(2, trace=[[3, 1.5], [4, 1.5]]), r"line 2 is no record: .* falling distortions; received \(\(3, 1.5\)"),
        (spoilt(2, trace=[[102, 1.5]]), "line 2 is no record: trace must have rising gradients, from 0 to 101"),
        (spoilt(2, trace=[[-1, 1.5]]), "line 2 is no record: trace must have rising gradients, from 0 to 101"),
        (spoilt(1, trace=None), "line 1 is no record: it lacks trace"),
        (spoilt(1, index=4), r"records\.jsonl tells of 'cw' on image 4, settings\.json of cw, scw on 4 images"),
        (spoilt(1, index=-1), r"records\.jsonl tells of 'cw' on image -1"),
        (spoilt(1, attack="own"), r"records\.jsonl tells of 'own' on image 0"),
        (lambda folder: (folder / records.RECORDS).write_text(""), r"records\.jsonl is empty"),
        (lambda folder: (folder / records.RECORDS).write_text("[" * 100_000), "line 1 is no record: it is nested too"),
        (lambda folder: (folder / records.RECORDS).write_bytes(b"\xff\n"), r"line 1 is no record: .*utf-8"),
        (summarised(num_images=0), r"summary\.json tells of 4 of 0 images"),
        (summarised(num_correct=7), r"summary\.json tells of 7 of 5 images"),
        (summarised(levels="many"), r"levels must be of the type int \| None; received 'many'"),
        (summarised(model=["c4"]), r"model must be of the type str; received \['c4'\]"),
    ],
)
def test_damaged_results(spoil, message, inputs, tmp_path):
    folder = tmp_path / "run"
    shutil.copytree(inputs / "run", folder)
    spoil(folder)
    with pytest.raises(ValueError, match=message) as raised:
        records.read(folder)
    assert "\n" not in str(raised.value)


@pytest.mark.parametrize("line", [b"not JSON", b"{}", b"[]", b'{"index": 1', b"\xff\xfe", b""])
def test_a_run_does_not_go_on_after_a_damaged_record(line, tmp_path):
    writer = records.Results(tmp_path, {"model": "a"}, metrics.Record)
    writer.append([record(0), record(1)])
    writer.close()
    path = tmp_path / records.RECORDS
    first, second = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(first + line + b"\n" + second)
    with pytest.raises(ValueError, match=r"records\.jsonl, line 2 is no record: .*; delete the line, and the command"):
        records.Results(tmp_path, {"model": "a"}, metrics.Record)
    assert path.read_bytes() == first + line + b"\n" + second


@pytest.mark.skipif(not FULL.exists(), reason="needs /dev/full")
def test_a_full_disk_leaves_no_open_file(tmp_path):
    (tmp_path / records.RECORDS).symlink_to(FULL)
    writer = records.Results(tmp_path, {"model": "a"}, metrics.Record)
    with pytest.raises(OSError, match=r"cannot write .*records\.jsonl: No space left on device; make room there"):
        writer.append([record(0)])
    writer.close()


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda folder: models.check(models.c4(), np.full((1, 28, 28, 1), np.nan), [1]), "values from nan to nan"),
        (lambda folder: models.check(models.c4(), np.zeros((1, 28, 28, 1), np.uint8), [1]), "received uint8"),
        (lambda folder: models.check(models.c4(), np.zeros((1, 28, 28, 1)), [-1]), "must be classes from 0 on"),
        (lambda folder: models.check(models.c4(), np.zeros((1, 28, 28, 1)), [1.0]), "labels must be integers"),
        (lambda folder: models.load(str(folder / "lambda.keras")), "cannot read a model from .*Lambda"),
        (
            lambda folder: models.load(str(folder / "lambda.h5")),
            "its Lambda layer is Python code, which safe mode does not",
        ),
        (lambda folder: mnist.read(str(folder / "pickled.npz"), "test"), "allow_pickle=False"),
        (
            lambda folder: decoding.read(folder / "grey.png", shape=(4, 4, 1)),
            r"must be of the shape \(4, 4, 1\), like its",
        ),
    ],
)
def test_the_library_refuses(call, message, inputs):
    with pytest.raises(ValueError, match=message) as raised:
        call(inputs)
    assert "\n" not in str(raised.value)
    assert not (inputs / "unpickled").exists()


def test_nothing_is_loaded_unsafely():
    root = pathlib.Path(__file__).parents[1]
    for folder in ("tf_smoothadv", "models", "eval"):
        for path in (root / folder).rglob("*.py"):
            text = path.read_text()
            assert not re.search(r"safe_mode|enable_unsafe|allow_pickle=True|import pickle", text), path
