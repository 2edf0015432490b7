# kinemacolor: download, sync, frames, split, filter, train, evaluate, render; see README.md.
#
#   snakemake --cores 8 all      everything that params.yaml's experiments ask for
#   snakemake --cores 8 models   named targets stop at a stage: media, all_frames, models, figures, videos
#   snakemake --cores 8 all --configfile presets/film.yaml   the same for another params file
from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/common.smk"
include: "workflow/rules/media.smk"
include: "workflow/rules/frames.smk"
include: "workflow/rules/encoders.smk"
include: "workflow/rules/external.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/pictures.smk"


if PRESET is None:

    include: "workflow/rules/record.smk"


report: "workflow/report/workflow.rst"


rule all:
    default_target: True
    input:
        RECORD if PRESET is None else rules.everything.input,
    localrule: True
