"""Mixtures of weights: between policies, beyond them, refused where rows do not mean the same, and how far to go."""

import json
import shutil

import pytest
import torch
from safetensors.torch import load_file, save_file

from critica.cli.main import main
from critica.functional.pareto import pareto_front
from critica.policies.locate import PolicyLoadError, asset_path
from critica.policies.mixing import mix_folders, mixed

F64 = torch.float64


def test_by_hand():
    base, one, two = (torch.tensor(row, dtype=F64) for row in ([1.0, 0.0], [3.0, 0.0], [1.0, 4.0]))
    assert mixed(base, [one, two], [0.5, 0.5]).tolist() == [2.0, 2.0]  # the soup: base drops out
    assert mixed(base, [one, two], [0.5, 0.5]).tolist() == ((one + two) / 2).tolist()
    assert mixed(base, [one], [1.5]).tolist() == [4.0, 0.0] and mixed(base, [one], [-0.5]).tolist() == [0.0, 0.0]
    assert mixed(base, [one, two], [1.0, 1.0]).tolist() == [3.0, 4.0]  # what either learned is added


def test_half_precision_is_mixed_in_single_and_whole_numbers_must_agree():
    base = torch.full((4,), 256.0).bfloat16()
    near = [base + 2, base + 2, base + 2]
    assert mixed(base, near, [0.4, 0.3, 0.3]).tolist() == [258.0] * 4  # .8, .6 and .6 would round away one by one
    assert mixed(base, near, [0.4, 0.3, 0.3]).dtype == torch.bfloat16
    whole = torch.tensor([1, 2])
    assert torch.equal(mixed(whole, [whole.clone()], [0.7]), whole)
    with pytest.raises(ValueError, match="whole numbers differ"):
        mixed(whole, [whole + 1], [0.5])


def test_extrapolation_pays_until_the_closed_form_on_a_quadratic():
    """One gradient step of rate r on (x - a)' H (x - a) / 2: best at g'g / (r g'Hg), level again at twice that."""
    torch.manual_seed(0)
    root, goal = torch.randn(5, 5, dtype=F64), torch.randn(5, dtype=F64)
    curvature = root @ root.T + torch.eye(5, dtype=F64)

    def loss(x):
        return float((x - goal) @ curvature @ (x - goal) / 2)

    start, rate = torch.zeros(5, dtype=F64), 0.01
    slope = curvature @ (start - goal)
    taught = start - rate * slope
    best = float(slope @ slope / (rate * slope @ curvature @ slope))
    assert best > 1.5  # the step stopped short: there is something to gain beyond
    along = {
        w: loss(mixed(start, [taught], [w])) for w in (1.0, best - 0.1, best, best + 0.1, 2 * best, 2 * best + 0.1)
    }
    assert along[best] < min(along[1.0], along[best - 0.1], along[best + 0.1])
    assert along[2 * best] == pytest.approx(loss(start)) and along[2 * best + 0.1] > loss(start)


def test_a_newton_step_is_its_own_best():
    goal, start = torch.tensor([1.0, -2.0], dtype=F64), torch.zeros(2, dtype=F64)
    taught = start + 0.4 * (goal - start)  # -0.4 H^-1 g, whatever H
    assert torch.allclose(mixed(start, [taught], [1 / 0.4]), goal)


def test_the_front_by_hand():
    scores = torch.tensor([[1.0, 0.0], [0.0, 1.0], [0.5, 0.5], [0.4, 0.5], [0.5, 0.5], [1.0, -0.1]])
    assert pareto_front(scores).tolist() == [True, True, True, False, True, False]
    assert pareto_front(-scores).tolist() == [False, True, False, True, False, True]
    assert pareto_front(torch.zeros(3, 2)).tolist() == [True] * 3
    with pytest.raises(ValueError, match="is NaN"):
        pareto_front(torch.tensor([[float("nan"), 1.0]]))


# Folders.


@pytest.fixture(scope="module")
def pico(tmp_path_factory):
    """The shipped policy, and two that differ from it by known noise."""
    place = tmp_path_factory.mktemp("mix")
    base = asset_path("pico")
    generator = torch.Generator().manual_seed(0)
    for name in ("one", "two"):
        shutil.copytree(base, place / name)
        weights = {k: v + 0.01 * torch.randn(v.shape, generator=generator).to(v.dtype)
                   for k, v in load_file(base / "model.safetensors").items()}  # fmt: skip
        save_file(weights, place / name / "model.safetensors", metadata={"format": "pt"})
    return base, place / "one", place / "two"


def tensors(folder):
    found = {}
    for file in sorted(folder.glob("*.safetensors")):
        found |= load_file(file)
    return found


def test_the_command_writes_a_folder_that_transformers_opens_and_that_answers(pico, tmp_path, capsys):
    base, one, two = pico
    out = tmp_path / "soup"
    assert main(["policy", "mix", "pico", str(one), str(two), "--weights", "0.25,1.25", "--out", str(out)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == ["-0.500", "+0.250", "+1.250"]
    first, second, third, made = (tensors(folder) for folder in (base, one, two, out))
    assert made.keys() == first.keys()
    for name, value in made.items():
        exact = -0.5 * first[name].double() + 0.25 * second[name].double() + 1.25 * third[name].double()
        assert torch.allclose(value.double(), exact, atol=1e-6)
    from critica.policies.language_model import LanguagePolicy

    policy = LanguagePolicy.load(str(out))
    weights = dict(policy.model.named_parameters())
    name = next(name for name in made if name in weights)
    assert torch.equal(weights[name].detach(), made[name])


def test_all_of_one_is_that_one_and_none_is_the_base(pico, tmp_path):
    base, one, two = pico
    for weights, same in (([1.0, 0.0], one), ([0.0, 0.0], base)):
        out = tmp_path / same.name
        out.mkdir()
        mix_folders(base, [one, two], weights, out)
        assert all(torch.allclose(value, tensors(same)[name], atol=1e-6) for name, value in tensors(out).items())


def test_shards_of_the_base_are_kept_and_others_may_be_cut_otherwise(pico, tmp_path):
    base, one, _ = pico
    cut, out = tmp_path / "cut", tmp_path / "out"
    shutil.copytree(base, cut)
    (cut / "model.safetensors").unlink()
    held, where = tensors(base), {}
    names = sorted(held)
    for number, part in enumerate((names[::2], names[1::2])):
        file = f"model-{number}.safetensors"
        save_file({name: held[name] for name in part}, cut / file, metadata={"format": "pt"})
        where |= dict.fromkeys(part, file)
    (cut / "model.safetensors.index.json").write_text(json.dumps({"weight_map": where}))
    out.mkdir()
    mix_folders(cut, [one], [0.5], out)
    assert {file.name for file in out.glob("model*")} == {file.name for file in cut.glob("model*")}
    plain = tmp_path / "plain"
    plain.mkdir()
    mix_folders(base, [one], [0.5], plain)
    assert all(torch.equal(value, tensors(plain)[name]) for name, value in tensors(out).items())


def changed(folder, place, **edits):
    """A copy of the folder with some tensors replaced, or dropped where None."""
    shutil.copytree(folder, place)
    weights = {name: edits.get(name.replace(".", "_"), value) for name, value in tensors(folder).items()}
    kept = {name: value for name, value in weights.items() if value is not None}
    save_file(kept, place / "model.safetensors", metadata={"format": "pt"})
    return place


def test_what_cannot_be_mixed_is_refused_and_leaves_nothing_behind(pico, tmp_path):
    base, one, _ = pico
    name = sorted(tensors(base))[0]
    key = name.replace(".", "_")
    value = tensors(base)[name]
    cases = [
        (changed(one, tmp_path / "short", **{key: value[:-1].clone()}), "one architecture"),
        (changed(one, tmp_path / "less", **{key: None}), "in one of"),
        (changed(one, tmp_path / "huge", **{key: value + torch.inf}), "not finite"),
    ]
    adapted = tmp_path / "adapted"
    shutil.copytree(one, adapted)
    (adapted / "adapter_config.json").write_text("{}")
    cases.append((adapted, "merge them"))
    spoken = tmp_path / "spoken"
    shutil.copytree(one, spoken)
    config = json.loads((spoken / "tokenizer_config.json").read_text())
    config["chat_template"] = "{{ messages[0]['content'] }}!"
    (spoken / "tokenizer_config.json").write_text(json.dumps(config))
    (spoken / "chat_template.jinja").unlink(missing_ok=True)
    cases.append((spoken, "templates differ"))
    for number, (folder, what) in enumerate(cases):
        out = tmp_path / f"out{number}"
        out.mkdir()
        with pytest.raises(PolicyLoadError, match=what):
            mix_folders(base, [folder], [0.5], out)


@pytest.mark.parametrize(
    ("words", "what"),
    [
        (["pico", "--weights", "1"], "a base and a policy"),
        (["pico", "pico", "--weights", "1,2"], "one for each"),
        (["pico", "pico", "--weights", "half"], "with commas between"),
        (["pico", "pico", "--weights", "nan"], "finite"),
        (["pico", "pica", "--weights", "1"], "nearest name is 'pico'"),
    ],
)
def test_wrong_usage_says_what_to_write(words, what, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(["policy", "mix", *words, "--out", "mixed"]) == 2
    assert what in capsys.readouterr().err and not (tmp_path / "mixed").exists()
