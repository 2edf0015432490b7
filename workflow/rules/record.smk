# Snakemake builds, DVC versions: every output of a complete build is recorded in dvc.lock, never those of a part of one.


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
    shell:
        "kinemacolor dag && dvc commit --force --quiet --no-relink"
