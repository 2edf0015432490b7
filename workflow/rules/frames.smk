# From media to the frames that count.


rule pieces:
    input:
        media="data/raw/{source}",
        sync=lambda wildcards: synced(wildcards.source),
        params=".params/pieces-{dataset}.json",
        code=lambda wildcards: CODE[f"pieces-{wildcards.source}"],
    output:
        # Links to the same files stay in data/frames.
        temp(directory("data/pieces/{dataset}/{source}/{piece}")),
    params:
        sync=lambda wildcards, input: f"--sync {input.sync}" if input.sync else "",
    shell:
        "kinemacolor pieces {input.media} {wildcards.piece} --source {wildcards.source} {params.sync}"
        " --params {input.params} --out {output}"


rule frames:
    input:
        media="data/raw/{source}",
        sync=lambda wildcards: synced(wildcards.source),
        params=".params/frames-{dataset}.json",
        code=lambda wildcards: CODE[f"frames-{wildcards.source}"],
        pieces=pieces_of,
    output:
        directory("data/frames/{dataset}/{source}"),
    params:
        more=frames_options,
    shell:
        "kinemacolor frames {input.media} --source {wildcards.source} {params.more} --params {input.params} --out {output}"


rule split:
    input:
        frames=frames_of,
        params=".params/split-{dataset}.json",
        code=lambda wildcards: CODE[f"split-{wildcards.dataset}"],
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


rule motion:
    input:
        media="data/raw/{source}",
        frames="data/frames/{dataset}/{source}",
        filter="data/filter/{dataset}.parquet",
        sync=lambda wildcards: synced(wildcards.source),
        params=".params/motion-{dataset}.json",
        code=lambda wildcards: CODE[f"motion-{wildcards.source}"],
    output:
        directory("data/motion/{dataset}/{source}"),
    params:
        sync=lambda wildcards, input: f"--sync {input.sync}" if input.sync else "",
    shell:
        "kinemacolor motion {input.media} {input.frames} --filter {input.filter} {params.sync}"
        " --params {input.params} --out {output}"


rule all_frames:
    input:
        dataset_sources("data/frames/{dataset}/{source}"),
        datasets("data/filter/{dataset}.parquet"),
