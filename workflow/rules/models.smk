# From frames to weights and figures.


rule train:
    input:
        unpack(asked_of),
        frames=frames_of,
        filter="data/filter/{dataset}.parquet",
        params=".params/train-{dataset}-{model}.json",
        code=code_of("train"),
    output:
        directory("data/models/{dataset}/{model}"),
    threads: threads_of
    resources:
        gpu=gpus_of,
    params:
        asked=lambda wildcards: " ".join(f"--{option} {path}" for option, path in asked_of(wildcards).items()),
    shell:
        "kinemacolor train {input.frames} --filter {input.filter} {params.asked} --params {input.params}"
        " --dataset {wildcards.dataset} --name {wildcards.model} --out {output}"


rule precolour:
    input:
        model="data/models/{dataset}/{model}",
        frames=frames_of,
        filter="data/filter/{dataset}.parquet",
        code=code_of("precolour"),
    output:
        directory("data/coloured/{dataset}/{model}"),
    resources:
        gpu=GPU,
    shell:
        "kinemacolor precolour {input.model} {input.frames} --filter {input.filter} --out {output}"


rule evaluate:
    input:
        unpack(measured_of),
        predicted=predicted_of,
        frames=frames_of,
        motion=motion_of,
        filter="data/filter/{dataset}.parquet",
        params=".params/evaluate-{dataset}.json",
        code=code_of("evaluate"),
    output:
        report(
            directory(f"{REPORTS}/{{dataset}}/{{model}}"),
            patterns=["{picture}_{part}.png"],
            caption="../report/sheet.rst",
            category="{dataset}",
            subcategory="{model}",
            labels=sheet_labels,
        ),
    # A result of another program stands where a model does.
    wildcard_constraints:
        model="|".join([*MODELS, *EXTERNALS]) or "none",
    resources:
        gpu=GPU,
    params:
        more=evaluate_options,
    shell:
        "kinemacolor evaluate {input.predicted} {input.frames} --filter {input.filter} {params.more}"
        " --params {input.params} --out {output}"


rule models:
    input:
        experiments("data/models/{dataset}/{model}"),


rule figures:
    input:
        evaluated(f"{REPORTS}/{{dataset}}/{{model}}"),
