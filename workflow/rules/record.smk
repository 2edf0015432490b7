# Snakemake builds, DVC versions: every output of a complete build is recorded in dvc.lock, never those of a part of one,
# and never under code or values that were edited while it ran.


rule record:
    input:
        rules.media.input,
        rules.all_frames.input,
        datasets("data/split/{dataset}.parquet"),
        rules.models.input,
        rules.figures.input,
        rules.videos.input,
        "reports/index.html",
    output:
        touch(RECORD),
    params:
        made_from=MADE_FROM,
    shell:
        "kinemacolor dag --made-from {params.made_from} && dvc commit --force --quiet --no-relink"
