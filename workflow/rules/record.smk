# Snakemake builds, DVC versions: every output of a complete build is recorded in dvc.lock, never those of a part of one,
# and never under code or values that were edited while it ran. dvc.yaml describes params.yaml: a preset is not recorded.
MADE_FROM = dag.write_manifest(PARAMS)


rule record:
    input:
        rules.everything.input,
    output:
        touch(RECORD),
    localrule: True
    params:
        made_from=MADE_FROM,
    shell:
        "kinemacolor dag --made-from {params.made_from} && dvc commit --force --quiet --no-relink"
