# What other programs coloured, to be judged beside our models.


rule external:
    input:
        media=lambda wildcards: external_source(wildcards, "raw"),
        frames=lambda wildcards: external_source(wildcards, "frames"),
        motion=lambda wildcards: external_source(wildcards, "motion"),
        sync=lambda wildcards: synced(PARAMS.coloured_source(wildcards.external)),
        params=".params/external-{dataset}-{external}.json",
        code=lambda wildcards: CODE[f"external-{wildcards.external}"],
    output:
        directory("data/external/{dataset}/{external}"),
    params:
        given=lambda wildcards: dag.mark_of(PARAMS.external[wildcards.external].path),
        more=external_options,
    shell:
        "kinemacolor external {wildcards.external} {input.frames} --media {input.media} {params.more}"
        " --params {input.params} --out {output}"
