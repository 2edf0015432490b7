# From params to synced prints.


rule download:
    input:
        params=".params/download-{source}.json",
        code=lambda wildcards: CODE[f"download-{wildcards.source}"],
    output:
        directory("data/raw/{source}"),
    shell:
        "kinemacolor download {wildcards.source} --params {input.params} --out {output}"


rule sync:
    input:
        media="data/raw/{source}",
        params=".params/sync-{source}.json",
        code=CODE["sync"],
    output:
        directory("data/sync/{source}"),
    shell:
        "kinemacolor sync {input.media} --params {input.params} --out {output}"


rule media:
    input:
        expand("data/raw/{source}", source=SOURCES),
        expand("data/sync/{source}", source=PAIRS),
