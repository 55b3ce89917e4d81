"""A study's file to begin with, which explains every key."""

__all__ = ["EXAMPLE"]

EXAMPLE = """\
# A study: every group of attacks on every network, on every dataset. The same command goes on where it stopped; with
# more attacks, networks, datasets or images in this file it makes what is missing, and writes the report anew.
# The values that stand behind a # are the defaults, or examples where there is none.

output = "results/study"    # a folder: OUTPUT/DATASET/NETWORK/GROUP has what eval.white_box leaves, and report.html
# save_images = false       # as PNG, which the report's gallery shows
# jit_compile = false       # attacks compiled as a whole by XLA: for GPUs

[networks.c4]               # a name of your own; by default it is the model, too
# model = "c4"              # as --model takes it: a name, or the path of a .keras file or of a SavedModel folder
# outputs = "logits"        # or "probabilities", "logit"
# input_range = [0, 1]      # what the network expects for black and white
# samples = 1               # draws of a random network
# output_name = "logits"    # which of several outputs
# import = ["layers.py"]    # modules with layers of your own

[networks.c4_adversarial]

[datasets.digits]
dataset = "mnist"           # or "nips2017", "folder", "tfrecord"
num_images = 20             # from the first on; by default 200 digits, all images of another dataset
# data = "photographs"      # where they lie
# networks = ["c4"]         # by default all
# image_size = 299          # pixels a side that they are resized to
# resize = "crop"           # or "squash", "pad"
# resolution = "model"      # or "own": attacked at their own size
# labels = "given"          # or "predicted": what the network says
# targets = "least_likely"  # the class that an attack must reach; by default any but the label
# batch_size = 100          # by default as many as memory and speed allow
# visibility = false        # measures of what the eye sees; by default on photographs

[attacks.minimal]           # a group: attacks of one setting
attacks = ["fmn", "sfmn"]
# settings = "tuned"        # or "paper"
# delivery = "auto"         # or "none", "8bit"
# gradients = 50            # at most, for each image
# epsilon = 2.0             # of gradient attacks, in place of the least
# confidence = 0.0          # by how much the network must err, in logits
# epsilons = [1.0, 1.5]     # at which robust accuracy is told

# [fronts.smoothness]       # attacks over alpha, as eval.front does, with the images
# attacks = ["fmn"]
# alphas = [0, 0.9, 0.97]   # 0 is plain
# maskings = ["eye"]        # besides
# gradients = 100
# premium = 1.5             # how many times the smallest distortion the picked image may have
# pick = "smoothest"        # or a measure of visibility

# [transfers.defended]      # as eval.transfer does, on every dataset
# sources = ["c4"]          # of the networks above
# targets = ["c4_adversarial"]
# attacks = ["pgd2", "spgd2"]
# settings = "tuned"
# delivery = "auto"
# gradients = 50
"""
