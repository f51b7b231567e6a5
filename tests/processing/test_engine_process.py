"""The engine's process, with small programs in the engine's place that misbehave as real ones do."""

import os
import stat
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from geodl_qgis_plugin.processing_algorithms import engine_process, watched_process
from geodl_qgis_plugin.processing_algorithms.engine_process import EngineError, run_job
from geodl_qgis_plugin.processing_algorithms.interpreter import NoInterpreterError

pytestmark = pytest.mark.skipif(os.name != "posix", reason="the stand-ins for the engine are scripts with a shebang")
HEAD = f"""#!{sys.executable}
import json, os, signal, sys, time
def say(**line):
    sys.stdout.write(json.dumps(line, ensure_ascii=False) + "\\n"); sys.stdout.flush()
"""


@pytest.fixture
def engine(qgis, monkeypatch, tmp_path):
    """Return a function that puts a program into the engine's place."""

    def become(code):
        script = tmp_path / "fake engine"
        script.write_text(HEAD + code, encoding="utf-8")
        script.chmod(script.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("GEODL_PYTHON", str(script))

    return become


def cancel_when_told(feedback, word):
    """Cancel from another thread as soon as the engine's message `word` has come."""

    def wait():
        while word not in feedback.infos:
            time.sleep(0.02)
        feedback.cancel()

    threading.Thread(target=wait, daemon=True).start()


def test_result_and_lines_are_relayed(engine, feedback):
    """Progress, messages and warnings reach the feedback and the result comes back, in any alphabet."""
    engine("""
say(type="progress", fraction=0.25, text="Überschiebung — 岩相")
say(type="message", text="Жила: 3 µm")
say(type="warning", text="Few tiles of class “schiste”")
say(type="alive")
say(type="result", result={"output": "/tmp/carte géologique.tif", "accuracy": 0.5})
""")
    assert run_job("anything", {}, feedback) == {"output": "/tmp/carte géologique.tif", "accuracy": 0.5}
    assert feedback.texts == ["Überschiebung — 岩相"]
    assert feedback.progress() == 25
    assert feedback.infos == ["Жила: 3 µm"]
    assert feedback.warnings == ["Few tiles of class “schiste”"]


def test_counting_does_not_fill_the_log(engine, feedback):
    """QGIS logs each text of progress: one whose numbers alone change is told once; the bar and new stages go on."""
    engine("""
for epoch in range(1, 60):
    say(type="progress", fraction=epoch / 100, text=f"Epoch {epoch} of 400, loss {2.5 / epoch:.3f}")
say(type="progress", fraction=0.6, text="Growing the forest, 20 of 200 trees")
say(type="result", result={})
""")
    run_job("anything", {}, feedback)
    assert feedback.texts == ["Epoch 1 of 400, loss 2.500", "Growing the forest, 20 of 200 trees"]
    assert feedback.progress() == 60


def test_job_and_settings_reach_the_engine(engine, feedback):
    """The engine gets the job's name and its settings as JSON, with letters of any alphabet, and the file is removed after."""
    engine("""
job, path = sys.argv[-2:]
say(type="result", result={"job": job, "path": path, "settings": json.load(open(path, encoding="utf-8")), "args": sys.argv[1:]})
""")
    settings = {"predictors": ["/tmp/Höhe.tif"], "tile_size": 128, "class_field": "岩相"}
    result = run_job("extracttiles", settings, feedback)
    assert result["job"] == "extracttiles"
    assert result["settings"] == settings
    assert not Path(result["path"]).parent.exists()
    assert result["args"][0] == "-E"
    assert result["args"][result["args"].index("--parent-pid") + 1] == str(os.getpid())
    assert "--packages" not in result["args"]


def test_line_split_across_writes(engine, feedback):
    """A line that comes in pieces, cut in the middle of a letter, is read as one."""
    engine("""
line = (json.dumps({"type": "message", "text": "Ärger"}, ensure_ascii=False) + "\\n").encode()
cut = line.index("Ä".encode()) + 1
for piece in (line[:5], line[5:cut], line[cut:]):
    os.write(1, piece); time.sleep(0.2)
os.write(1, b'{"type": "result", "result": {"ok": 1}}')
""")
    assert run_job("anything", {}, feedback) == {"ok": 1}
    assert feedback.infos == ["Ärger"]


def test_much_output_is_read(engine, feedback):
    """Twenty thousand lines on both outputs neither block the engine nor lose a line."""
    engine("""
for i in range(20_000):
    say(type="message", text=f"line {i} " + 80 * "x"); sys.stderr.write(f"noise {i}\\n")
say(type="result", result={"n": 20_000})
""")
    assert run_job("anything", {}, feedback) == {"n": 20_000}
    assert len(feedback.infos) == 20_000


def test_noise_on_output_is_no_error(engine, feedback):
    """Lines that are not the engine's, some of them JSON, do not stop a job."""
    engine("""
os.write(1, b"\\xff\\xfe\\x00 garbage\\n[1, 2]\\n17\\nnull\\n{\\"type\\": [1]}\\n{\\"kind\\": 3}\\n" + 100_000 * b"z" + b"\\n")
say(type="result", result={"ok": 1})
""")
    assert run_job("anything", {}, feedback) == {"ok": 1}


def test_endless_line_does_not_fill_memory(engine, feedback, monkeypatch):
    """Output without a line break is cut, not kept."""
    monkeypatch.setattr(watched_process, "LONGEST_LINE", 1000)
    engine("""
for _ in range(200):
    os.write(1, 1000 * b"z"); time.sleep(0.001)
sys.exit(9)
""")
    with pytest.raises(EngineError, match="status 9") as raised:
        run_job("anything", {}, feedback)
    assert len(str(raised.value)) < watched_process.LAST_LINES * 70_000


def test_error_is_the_engines_sentence(engine, feedback):
    """A refusal reaches the user word by word, without the traceback, which goes to the details."""
    engine("""
say(type="error", name="BandMismatchError", text="The raster has 4 bands, but 6 are needed.", detail="Traceback: there")
sys.exit(1)
""")
    with pytest.raises(EngineError) as raised:
        run_job("anything", {}, feedback)
    assert str(raised.value) == "The raster has 4 bands, but 6 are needed."
    assert feedback.debug == ["Traceback: there"]


def test_killed_engine(engine, feedback):
    """An engine that is killed half-way gives a sentence that names memory as the likely reason, with its last lines."""
    engine("""
say(type="progress", fraction=0.5, text="Training")
sys.stderr.write("allocating 900 GB\\n"); sys.stderr.flush()
os.kill(os.getpid(), signal.SIGKILL)
""")
    with pytest.raises(EngineError, match=r"killed from outside \(signal 9\).*memory") as raised:
        run_job("anything", {}, feedback)
    assert "allocating 900 GB" in str(raised.value)


def test_crashing_engine(engine, feedback):
    """A segmentation fault is told as a crash, with the signal."""
    engine("os.kill(os.getpid(), signal.SIGSEGV)")
    with pytest.raises(EngineError, match=r"crashed \(signal 11\)"):
        run_job("anything", {}, feedback)


def test_traceback_is_shown(engine, feedback):
    """An engine that ends with a Python traceback shows its last lines."""
    engine("import no_such_module_at_all")
    with pytest.raises(EngineError, match="status 1") as raised:
        run_job("anything", {}, feedback)
    assert "ModuleNotFoundError: No module named 'no_such_module_at_all'" in str(raised.value)


def test_end_without_a_word(engine, feedback):
    """An engine that ends well but without a result is an error all the same."""
    engine("sys.exit(0)")
    with pytest.raises(EngineError, match="status 0 and without a result"):
        run_job("anything", {}, feedback)


def test_crash_after_the_result(engine, feedback):
    """A library that crashes while it is unloaded takes nothing away from a result that was told."""
    engine("""
say(type="result", result={"ok": 1})
os.kill(os.getpid(), signal.SIGSEGV)
""")
    assert run_job("anything", {}, feedback) == {"ok": 1}


def test_silent_engine_is_killed(engine, feedback, monkeypatch, tmp_path):
    """An engine that hangs and ignores SIGTERM is gone within seconds of the limit."""
    monkeypatch.setenv("GEODL_SILENCE_LIMIT_S", "1")
    engine(f"""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open({str(tmp_path / "pid")!r}, "w").write(str(os.getpid()))
say(type="message", text="started")
time.sleep(60)
""")
    before = time.monotonic()
    with pytest.raises(EngineError, match="said nothing for 1 seconds"):
        run_job("anything", {}, feedback)
    assert time.monotonic() - before < 10
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_living_engine_is_not_killed(engine, feedback, monkeypatch):
    """An engine that only says that it is alive may take longer than the limit."""
    monkeypatch.setenv("GEODL_SILENCE_LIMIT_S", "1")
    engine("""
for _ in range(8):
    time.sleep(0.25); say(type="alive")
say(type="result", result={"ok": 1})
""")
    assert run_job("anything", {}, feedback) == {"ok": 1}


def test_cancel_keeps_what_the_engine_has(engine, feedback):
    """Cancelling from another thread reaches the engine at once, and its partial result comes back."""
    engine("""
def end(*_):
    say(type="result", result={"output": "best.geodl", "cancelled": True}); sys.exit(0)
signal.signal(signal.SIGTERM, end)
say(type="message", text="training")
time.sleep(60)
""")
    cancel_when_told(feedback, "training")
    before = time.monotonic()
    assert run_job("anything", {}, feedback) == {"output": "best.geodl", "cancelled": True}
    assert time.monotonic() - before < 10


def test_cancel_file_appears(engine, feedback):
    """Where no signal can be sent, the cancel file tells the engine."""
    engine("""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
path = sys.argv[sys.argv.index("--cancel-file") + 1]
say(type="message", text="training")
while not os.path.exists(path):
    time.sleep(0.05)
say(type="error", name="Cancelled", text="The job was stopped.", detail="")
sys.exit(1)
""")
    cancel_when_told(feedback, "training")
    assert run_job("anything", {}, feedback) == {}
    assert feedback.warnings == ["The job was stopped."]


def test_cancelled_engine_that_does_not_end_is_killed(engine, feedback, monkeypatch):
    """After the grace an engine that heeds nothing is killed, and the algorithm ends without an error."""
    monkeypatch.setattr(watched_process, "GRACE_S", 1.0)
    engine("""
signal.signal(signal.SIGTERM, signal.SIG_IGN)
while True:
    say(type="message", text="training"); time.sleep(0.2)
""")
    cancel_when_told(feedback, "training")
    before = time.monotonic()
    assert run_job("anything", {}, feedback) == {}
    assert time.monotonic() - before < 10
    assert "nothing" in feedback.warnings[-1]


def test_engine_that_cannot_start(qgis, feedback, monkeypatch, tmp_path):
    """A program that is no program is named in the sentence."""
    broken = tmp_path / "python"
    broken.write_text("#!/no/such/interpreter\n")
    broken.chmod(0o755)
    monkeypatch.setenv("GEODL_PYTHON", str(broken))
    with pytest.raises(EngineError, match=f"{broken}, could not be started"):
        run_job("anything", {}, feedback)


def test_named_python_that_is_missing(qgis, feedback, monkeypatch):
    """A Python that was named and does not exist is refused, and not replaced by another."""
    monkeypatch.setenv("GEODL_PYTHON", "/no/such/python")
    with pytest.raises(NoInterpreterError, match="GEODL_PYTHON names /no/such/python"):
        run_job("anything", {}, feedback)


def test_works_in_a_background_task(engine, qgis, feedback):
    """A job runs in a QgsTask as on the main thread: this is how the toolbox starts it."""
    from qgis.core import QgsApplication, QgsTask

    engine("""say(type="message", text="here"); say(type="result", result={"ok": 1})""")

    class Task(QgsTask):
        result = None

        def run(self):
            self.result = run_job("anything", {}, feedback)
            return True

    task = Task()
    QgsApplication.taskManager().addTask(task)
    over = time.monotonic() + 20
    while task.status() not in (QgsTask.TaskStatus.Complete, QgsTask.TaskStatus.Terminated) and time.monotonic() < over:
        QgsApplication.processEvents()
        time.sleep(0.01)
    assert task.result == {"ok": 1}
    assert feedback.infos == ["here"]


def test_real_engine_refuses_unknown_job(qgis, feedback):
    """The true engine is started as QGIS starts it, and its refusal comes back."""
    with pytest.raises(EngineError, match="no job 'nosuchjob'"):
        run_job("nosuchjob", {}, feedback)


def test_nothing_is_left_behind(engine, feedback, monkeypatch, tmp_path):
    """No settings file stays in the temporary folder, also after a failure."""
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    engine("sys.exit(3)")
    with pytest.raises(EngineError):
        run_job("anything", {"note": "x"}, feedback)
    assert [path.name for path in tmp_path.iterdir()] == ["fake engine"]


def test_silence_limit_can_be_set(monkeypatch):
    """The limit is two minutes unless the environment says otherwise."""
    monkeypatch.delenv("GEODL_SILENCE_LIMIT_S", raising=False)
    assert engine_process.silence_limit_s() == 120
    monkeypatch.setenv("GEODL_SILENCE_LIMIT_S", "7.5")
    assert engine_process.silence_limit_s() == 7.5
