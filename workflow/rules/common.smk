# Configuration and the helpers that rules use. Nothing here runs a stage.
import shlex
import shutil
import sys

from snakemake.cli import parse_args

from kinemacolor import dag, dvc_yaml, params
from kinemacolor.errors import UserError

try:
    # params.yaml, or what `--configfile` names: a preset. Read by ourselves, since Snakemake takes 1e-4 for a word.
    PARAMS_FILE, PRESET = dag.params_file(workflow.overwrite_configfiles, workflow.config_settings.config)
    DOCUMENT = params.read_document(PARAMS_FILE)
    PARAMS = params.check(DOCUMENT, str(PARAMS_FILE))
    dvc_yaml.refuse_stale(DOCUMENT, PARAMS, PARAMS_FILE)
    # Snakemake's settings do not say yet, while this is read, whether it was started to build.
    ASKED_OF_SNAKEMAKE = parse_args(sys.argv[1:])[1]
    if ASKED_OF_SNAKEMAKE.dryrun:
        PARAMS = dag.as_taken(PARAMS)
    CODE = {stage: [str(path) for path in paths] for stage, paths in dag.closures_of(PARAMS).items()}
    ASKED = dag.asked_for(PARAMS)
    dag.write_slices(
        params.slices(PARAMS, preset=PRESET),
        alone=PRESET is None,
        locks=dag.LOCKS,
        unlocking=ASKED_OF_SNAKEMAKE.unlock,
        respread=dag.respread(PARAMS),
    )
except (params.ParamsError, UserError) as error:
    # One sentence instead of a traceback; WorkflowError is what Snakemake prints plainly.
    raise WorkflowError(str(error)) from None

EXPERIMENTS = PARAMS.experiments
SOURCES = sorted({source for dataset in EXPERIMENTS for source in PARAMS.datasets[dataset].sources})
PAIRS = [source for source in SOURCES if PARAMS.sources[source].kind == "film_pair"]
MODELS = sorted({model for _, model in ASKED})
WEIGHTS = dag.weights_of(PARAMS)
EXTERNALS = sorted(name for names in PARAMS.shown_beside.values() for name in names)
RECORD = ".snakemake/kinemacolor-recorded"
# Figures and page of a preset lie apart from the default ones: git knows these, and may not know a film's pictures.
REPORTS = f"reports/presets/{PRESET}" if PRESET else "reports"
REPORT_SLICE = f".params/report-{PRESET}.json" if PRESET else ".params/report.json"
# The same page in one file, for Snakemake's own report; too large for git.
ALONE = f"data/page/{PRESET or 'index'}.html"

# One GPU job at a time unless `--resources gpu=N` says otherwise; without a GPU trainings share the cores.
workflow.global_resources.setdefault("gpu", 1)
GPU = 1 if shutil.which("nvidia-smi") else 0


# Names come from the params file, so a typo in a target can never match.
wildcard_constraints:
    dataset="|".join(EXPERIMENTS) or "none",
    source="|".join(SOURCES) or "none",
    model="|".join(MODELS) or "none",
    weights="|".join(WEIGHTS) or "none",
    external="|".join(EXTERNALS) or "none",
    piece="[0-9]+",


def frames_of(wildcards):
    """Frame folders of a dataset, in its own order of sources."""
    return [f"data/frames/{wildcards.dataset}/{source}" for source in PARAMS.datasets[wildcards.dataset].sources]


def pieces_of(wildcards):
    """Folders of the pieces in which a source's frames are taken; none if one job takes them all."""
    count = dag.pieces_of(PARAMS, wildcards.dataset, wildcards.source)
    return [f"data/pieces/{wildcards.dataset}/{wildcards.source}/{piece}" for piece in range(count)]


def frames_options(wildcards, input):
    """What `frames` is told beside media and values."""
    sync = [f"--sync {input.sync}"] if input.sync else []
    return " ".join(sync + ([f"--pieces {Path(input.pieces[0]).parent}"] if input.pieces else []))


def motion_of(wildcards):
    """Folders with the consecutive frames of a dataset, in its own order of sources; none of what does not move."""
    sources = PARAMS.datasets[wildcards.dataset].sources
    return [f"data/motion/{wildcards.dataset}/{source}" for source in sources if dag.moves(PARAMS, wildcards.dataset, source)]


def synced(source):
    """Folder with the alignment of a film pair; nothing for other sources."""
    return [f"data/sync/{source}"] if source in PAIRS else []


def rendered_source(wildcards):
    """The source that a dataset's videos show."""
    dataset = PARAMS.datasets[wildcards.dataset]
    return dataset.render.source or dataset.sources[0]


def shown_external(wildcards):
    """Results of other programs that a dataset's video shows, name -> path: those of the source that is shown."""
    names, shown = PARAMS.shown_beside[wildcards.dataset], rendered_source(wildcards)
    return {name: PARAMS.external[name].path for name in names if PARAMS.coloured_source(name) == shown}


def compare_options(wildcards, input):
    """What `compare` is told beside media, models and values."""
    sync = [f"--sync {input.sync}"] if input.sync else []
    return " ".join(sync + [f"--external {shlex.quote(f'{name}={path}')}" for name, path in shown_external(wildcards).items()])


def sheet_labels(wildcards):
    """What Snakemake's report calls a picture of an evaluation, by the two halves of its name.

    One label, since of two it makes a switch where it can, and shows nothing more if a combination is missing.
    """
    pictures = {"sheet": "Sample sheet", "extremes": "Best, typical and worst"}
    parts = {"val": "validation", "test": "test"}
    return {"Picture": f"{pictures.get(wildcards.picture, wildcards.picture)}, {parts.get(wildcards.part, wildcards.part)}"}


def code_of(stage):
    """Input function: the source files that a stage of one model runs."""
    return lambda wildcards: CODE[f"{stage}-{wildcards.model}"]


def threads_of(wildcards):
    """CPU threads of a training, over all its processes if these take the place of GPUs."""
    model = PARAMS.models[wildcards.model]
    return model.threads * (1 if GPU else model.devices)


def gpus_of(wildcards):
    """GPUs of a training."""
    return GPU * PARAMS.models[wildcards.model].devices


def asked_of(wildcards):
    """What a model asks to be trained with, beside the frames: option of `train` -> artefact."""
    return ASKED[wildcards.dataset, wildcards.model]


def predicted_of(wildcards):
    """What is evaluated: a model, or what another program coloured."""
    return f"data/{'external' if wildcards.model in EXTERNALS else 'models'}/{wildcards.dataset}/{wildcards.model}"


def measured_of(wildcards):
    """Weights that a dataset is evaluated with: option of `evaluate` -> folder."""
    return {option: f"data/weights/{weights}" for option, weights in PARAMS.measured_with[wildcards.dataset].items()}


def evaluate_options(wildcards, input):
    """What `evaluate` is told beside what is judged, frames and values."""
    motion = [f"--motion {folder}" for folder in input.motion]
    return " ".join(motion + [f"--{option} {folder}" for option, folder in measured_of(wildcards).items()])


def external_source(wildcards, folder):
    """Folder of the source that another program coloured: `raw`, or of its dataset `frames` or `motion`."""
    source = PARAMS.coloured_source(wildcards.external)
    if folder == "motion" and not dag.moves(PARAMS, wildcards.dataset, source):
        return []
    return f"data/{folder}/{source}" if folder == "raw" else f"data/{folder}/{wildcards.dataset}/{source}"


def external_options(wildcards, input):
    """What `external` is told beside the frames and values."""
    options = {"motion": input.motion, "sync": input.sync}
    return " ".join(f"--{option} {folder}" for option, folder in options.items() if folder)


def experiments(pattern):
    """`pattern` for every model of every experiment."""
    return [pattern.format(dataset=dataset, model=model) for dataset, models in EXPERIMENTS.items() for model in models]


def evaluated(pattern):
    """`pattern` for every model of every experiment, and for what other programs coloured beside them."""
    beside = [pattern.format(dataset=dataset, model=name) for dataset, names in PARAMS.shown_beside.items() for name in names]
    return experiments(pattern) + beside


def datasets(pattern):
    """`pattern` for every dataset of an experiment."""
    return [pattern.format(dataset=dataset) for dataset in EXPERIMENTS]


def dataset_sources(pattern):
    """`pattern` for every source of every dataset of an experiment."""
    return [
        pattern.format(dataset=dataset, source=source) for dataset in EXPERIMENTS for source in PARAMS.datasets[dataset].sources
    ]
