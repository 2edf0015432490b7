# From published weights to what an encoder says of every frame.


rule weights:
    input:
        params=".params/weights-{weights}.json",
        code=lambda wildcards: CODE[f"weights-{wildcards.weights}"],
    output:
        directory("data/weights/{weights}"),
    shell:
        "kinemacolor weights {wildcards.weights} --params {input.params} --out {output}"


rule embed:
    input:
        frames=frames_of,
        weights="data/weights/{weights}",
        code=CODE["embed"],
    output:
        directory("data/embeddings/{dataset}/{weights}"),
    resources:
        gpu=GPU,
    shell:
        "kinemacolor embed {input.frames} --weights {input.weights} --out {output}"


rule encoders:
    input:
        expand("data/weights/{weights}", weights=WEIGHTS),
