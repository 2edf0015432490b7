# From media to the frames that count.


rule frames:
    input:
        media="data/raw/{source}",
        sync=lambda wildcards: synced(wildcards.source),
        params=".params/frames-{dataset}.json",
        code=lambda wildcards: CODE[f"frames-{wildcards.source}"],
    output:
        directory("data/frames/{dataset}/{source}"),
    params:
        sync=lambda wildcards, input: f"--sync {input.sync}" if input.sync else "",
    shell:
        "kinemacolor frames {input.media} --source {wildcards.source} {params.sync} --params {input.params} --out {output}"


rule split:
    input:
        frames=frames_of,
        params=".params/split-{dataset}.json",
        code=CODE["split"],
    output:
        "data/split/{dataset}.parquet",
    shell:
        "kinemacolor split {input.frames} --params {input.params} --out {output}"


rule filter:
    input:
        frames=frames_of,
        split="data/split/{dataset}.parquet",
        params=".params/filter-{dataset}.json",
        code=CODE["filter"],
    output:
        "data/filter/{dataset}.parquet",
    shell:
        "kinemacolor filter {input.frames} --split {input.split} --params {input.params} --out {output}"


rule all_frames:
    input:
        dataset_sources("data/frames/{dataset}/{source}"),
        datasets("data/filter/{dataset}.parquet"),
