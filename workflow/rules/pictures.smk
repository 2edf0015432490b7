# From weights to videos and the page.


rule render:
    input:
        model="data/models/{dataset}/{model}",
        media=lambda wildcards: f"data/raw/{rendered_source(wildcards)}",
        sync=lambda wildcards: synced(rendered_source(wildcards)),
        params=".params/render-{dataset}.json",
        code=code_of("render"),
    output:
        video="data/render/{dataset}/{model}.mp4",
        poster=report(
            "data/render/{dataset}/{model}.png",
            caption="../report/still.rst",
            category="{dataset}",
            subcategory="{model}",
            labels={"Picture": "Still of the video"},
        ),
    threads: 2
    resources:
        gpu=GPU,
    params:
        sync=lambda wildcards, input: f"--sync {input.sync}" if input.sync else "",
    shell:
        "kinemacolor render {input.model} {input.media} {params.sync} --params {input.params} --out {output.video}"


rule compare:
    input:
        media=lambda wildcards: f"data/raw/{rendered_source(wildcards)}",
        models=lambda wildcards: [f"data/models/{wildcards.dataset}/{model}" for model in EXPERIMENTS[wildcards.dataset]],
        external=lambda wildcards: [f"data/external/{wildcards.dataset}/{name}" for name in shown_external(wildcards)],
        sync=lambda wildcards: synced(rendered_source(wildcards)),
        params=".params/render-{dataset}.json",
        code=lambda wildcards: CODE[f"compare-{wildcards.dataset}"],
    output:
        video="data/compare/{dataset}.mp4",
        poster=report(
            "data/compare/{dataset}.png",
            caption="../report/comparison.rst",
            category="{dataset}",
            subcategory="All models",
            labels={"Picture": "Still of the video"},
        ),
        stills=directory("data/compare/{dataset}_stills"),
    threads: 2
    resources:
        gpu=GPU,
    params:
        more=compare_options,
    shell:
        "kinemacolor compare {input.media} {input.models} {params.more} --params {input.params} --out {output.video}"


rule report:
    input:
        media=expand("data/raw/{source}", source=SOURCES),
        sync=expand("data/sync/{source}", source=PAIRS),
        frames=dataset_sources("data/frames/{dataset}/{source}"),
        filter=datasets("data/filter/{dataset}.parquet"),
        models=experiments("data/models/{dataset}/{model}"),
        figures=evaluated(f"{REPORTS}/{{dataset}}/{{model}}"),
        renders=experiments("data/render/{dataset}/{model}.mp4"),
        comparisons=datasets("data/compare/{dataset}.mp4"),
        stills=datasets("data/compare/{dataset}_stills"),
        params=REPORT_SLICE,
        code=CODE["report"],
    output:
        page=f"{REPORTS}/index.html",
        pictures=report(
            directory(f"{REPORTS}/pictures"),
            patterns=["{dataset}/curves.png"],
            caption="../report/curves.rst",
            category="{dataset}",
            subcategory="All models",
            labels={"Picture": "Curves"},
        ),
        alone=report(
            ALONE,
            caption="../report/page.rst",
            category="Page",
            labels={"Page": "Figures, differences, curves and pictures of all models"},
        ),
    params:
        reports=REPORTS,
    shell:
        "kinemacolor report --params {input.params} --reports {params.reports} --out {output.page} --alone {output.alone}"


rule videos:
    input:
        experiments("data/render/{dataset}/{model}.mp4"),
        datasets("data/compare/{dataset}.mp4"),


rule everything:
    input:
        rules.media.input,
        rules.all_frames.input,
        datasets("data/split/{dataset}.parquet"),
        sorted({path for asked in ASKED.values() for path in asked.values()}),
        rules.models.input,
        rules.figures.input,
        rules.videos.input,
        rules.report.output,
