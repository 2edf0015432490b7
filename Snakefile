# kinemacolor: download, sync, frames, split, filter, train, evaluate, render; see README.md.
#
#   snakemake --cores 8 all      everything that params.yaml's experiments ask for
#   snakemake --cores 8 models   named targets stop at a stage: media, all_frames, models, figures, videos
from snakemake.utils import min_version

min_version("9.0")


include: "workflow/rules/common.smk"
include: "workflow/rules/media.smk"
include: "workflow/rules/frames.smk"
include: "workflow/rules/models.smk"
include: "workflow/rules/pictures.smk"
include: "workflow/rules/record.smk"


report: "workflow/report/workflow.rst"


localrules:
    all,
    record,


rule all:
    default_target: True
    input:
        RECORD,
