"""``run()``: what goes in, what comes out, and what is said when it goes wrong."""

from __future__ import annotations

import os
import pickle
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from django_graceful import Cancelled, ProcessFailed, ProcessTimedOut, families, process, run
from django_graceful.exceptions import GracefulError, ProcessNotStarted

pytestmark = pytest.mark.process

MIB = 1 << 20


def test_output_and_code_come_back() -> None:
    result = run(["sh", "-c", "echo out; echo err >&2"])
    assert isinstance(result, subprocess.CompletedProcess)
    assert (result.args[0], result.returncode, result.stdout, result.stderr) == ("sh", 0, "out\n", "err\n")


def test_there_is_no_shell() -> None:
    words = ["$HOME", "`id`", "; ls", "*", "a b"]
    assert run(["printf", "%s|", *words]).stdout == "|".join(words) + "|"


@pytest.mark.parametrize("argv", ["ls -l", b"ls", Path("ls")])
def test_a_command_line_in_one_string_is_a_type_error_that_says_so(argv: object) -> None:
    with pytest.raises(TypeError, match="must be a list"):
        run(argv)  # type: ignore[arg-type]


def test_an_argument_that_is_no_text_is_a_type_error_and_none_at_all_a_value_error() -> None:
    with pytest.raises(TypeError):
        run(["echo", 1])  # type: ignore[list-item]
    with pytest.raises(TypeError, match="b'x'"):
        run(["echo", b"x"])  # type: ignore[list-item]
    with pytest.raises(ValueError, match="empty"):
        run([])


def test_paths_are_arguments_too(tmp_path: Path) -> None:
    assert run([Path("/bin/echo"), tmp_path]).stdout == f"{tmp_path}\n"


def test_it_reads_nothing_unless_given() -> None:
    assert run(["cat"]).stdout == ""


@pytest.mark.parametrize("given", ["grüß", "grüß".encode(), ""])
def test_it_reads_what_it_is_given(given: str | bytes) -> None:
    assert run(["cat"], input=given).stdout == (given if isinstance(given, str) else given.decode())


def test_large_input_and_large_output_at_the_same_time_do_not_block_each_other() -> None:
    data = os.urandom(MIB) * 50
    assert run(["cat"], input=data, text=False, max_output=len(data)).stdout == data


def test_a_command_that_stops_reading_is_no_error() -> None:
    assert run(["head", "-c", "3"], input=b"x" * 5 * MIB).stdout == "xxx"


def test_of_50_mib_the_beginning_and_the_end_are_kept_and_the_cut_is_named() -> None:
    result = run(["sh", "-c", f"echo first; head -c {50 * MIB} /dev/zero | tr '\\0' x; echo last"])
    assert result.stdout.startswith("first\nxxx")
    assert result.stdout.endswith("xxxlast\n")
    assert f"[... {40 * MIB + 11} bytes cut ...]" in result.stdout
    assert len(result.stdout) < 10 * MIB + 100


def test_output_that_is_not_utf8_is_readable() -> None:
    command = ["printf", r"a\377b"]
    assert run(command).stdout == "a\ufffdb"
    assert run(command, text=False).stdout == b"a\xffb"
    assert run(command, encoding="latin-1").stdout == "aÿb"


def test_streams_may_go_elsewhere(tmp_path: Path) -> None:
    both = ["sh", "-c", "echo out; echo err >&2"]
    merged = run(both, stderr=subprocess.STDOUT)
    assert (merged.stdout, merged.stderr) == ("out\nerr\n", None)
    with (tmp_path / "file").open("w") as file:
        assert run(both, stdout=file, stderr=subprocess.DEVNULL).stdout is None
    assert (tmp_path / "file").read_text() == "out\n"


def test_directory_and_environment(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "GREETING": "hello"}
    result = run(
        ["sh", "-c", "pwd; echo $GREETING; env | grep -v '^PWD\\|^_\\|^SHLVL' | cut -d= -f1"], cwd=tmp_path, env=env
    )
    assert result.stdout.split() == [
        str(tmp_path),
        "hello",
        *sorted([*env, "DJANGO_GRACEFUL_JOB"], key=result.stdout.index),
    ]


def test_a_program_below_the_directory_is_found(tmp_path: Path) -> None:
    (tmp_path / "hi").write_text("#!/bin/sh\necho hi\n")
    (tmp_path / "hi").chmod(0o755)
    assert run(["./hi"], cwd=tmp_path).stdout == "hi\n"


def test_it_leads_a_session_of_its_own_and_every_run_has_a_mark_of_its_own() -> None:
    script = "import os; print(os.getsid(0) == os.getpid() == os.getpgid(0), os.environ['DJANGO_GRACEFUL_JOB'])"
    first, second = (run([sys.executable, "-c", script]).stdout.split() for _ in range(2))
    assert (first[0], second[0]) == ("True", "True")
    assert first[1] != second[1]
    assert f"p{os.getpid()}." in first[1]


def test_marks_of_nested_runs_add_up() -> None:
    script = "from django_graceful import run; print(run(['sh', '-c', 'echo $DJANGO_GRACEFUL_JOB']).stdout)"
    env = {**os.environ, "PYTHONPATH": os.getcwd(), "DJANGO_SETTINGS_MODULE": "tests.settings"}
    outer, inner = run([sys.executable, "-c", script], env=env).stdout.strip().split("/")[-2:]
    assert outer.startswith(f"p{os.getpid()}.")
    assert not inner.startswith(f"p{os.getpid()}.")


# -- errors --------------------------------------------------------------------------------------------------------


def test_a_failure_says_what_was_run_how_it_ended_and_what_it_said() -> None:
    with pytest.raises(ProcessFailed) as caught:
        run(["sh", "-c", "echo out; echo 'first\nfatal: nope' >&2; exit 3"])
    error = caught.value
    assert isinstance(error, GracefulError)
    assert (error.returncode, error.signal, error.timed_out, error.cancelled) == (3, None, False, False)
    assert (error.stdout, error.stderr) == ("out\n", "first\nfatal: nope\n")
    assert str(error).endswith(": exit code 3: fatal: nope")


def test_a_failure_by_a_signal_names_it() -> None:
    with pytest.raises(ProcessFailed, match="ended by signal 9") as caught:
        run(["sh", "-c", "kill -9 $$"])
    assert (caught.value.returncode, caught.value.signal) == (-9, 9)


def test_a_failure_shows_no_credentials() -> None:
    with pytest.raises(ProcessFailed) as caught:
        run(["sh", "-c", "echo $0 $1 $2; exit 1", "https://joe:pw@host/", "--token", "t0psecret"])
    error = caught.value
    assert error.command[-3:] == ["https://***@host/", "--token", "***"]
    assert error.stdout == "https://***@host/ --token ***\n"
    assert "t0psecret" not in str(error) + repr(error)


def test_a_failure_keeps_the_end_of_long_output() -> None:
    with pytest.raises(ProcessFailed) as caught:
        run(["sh", "-c", "seq 100000 >&2; exit 1"])
    assert len(caught.value.stderr) == 4096
    assert caught.value.stderr.endswith("99999\n100000\n")


def test_an_error_keeps_its_facts_when_pickled() -> None:
    error = ProcessTimedOut(["sleep", "9"], "timed out after 1 s", -15, "out", "err")
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy), vars(copy)) == (ProcessTimedOut, str(error), vars(error))
    assert pickle.loads(pickle.dumps(ProcessNotStarted(["x"], "no"))).command == ["x"]


def test_with_check_off_a_failure_is_a_result() -> None:
    assert run(["sh", "-c", "echo x; exit 3"], check=False).returncode == 3
    assert run(["sh", "-c", "kill -TERM $$"], check=False).returncode == -signal.SIGTERM


@pytest.mark.parametrize("check", [True, False])
def test_what_can_not_be_started_says_why(tmp_path: Path, check: bool) -> None:
    (tmp_path / "plain").write_text("x")
    with pytest.raises(ProcessNotStarted, match="there is no 'no-such-program' in ") as caught:
        run(["no-such-program"], check=check)
    assert isinstance(caught.value, FileNotFoundError)
    assert caught.value.returncode is None
    with pytest.raises(ProcessNotStarted, match=r"there is no '\./nothing'"):
        run(["./nothing"], cwd=tmp_path)
    with pytest.raises(ProcessNotStarted, match="can not be executed"):
        run([tmp_path / "plain"])
    with pytest.raises(ProcessNotStarted, match="there is no directory '/no/where'"):
        run(["ls"], cwd="/no/where")
    with pytest.raises(ProcessNotStarted, match="Argument list too long"):
        run(["echo", "x" * 4 * MIB])


def test_a_missing_program_is_no_mystery_when_the_given_environment_has_no_path() -> None:
    with pytest.raises(ProcessNotStarted, match="no-such-program"):
        run(["no-such-program"], env={})
    assert run(["echo", "x"], env={}).stdout == "x\n"


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError, match="shell"):
        run(["ls"], shell=True)  # type: ignore[call-arg]


def test_a_timeout_is_an_error_with_what_was_said_until_then() -> None:
    begin = time.monotonic()
    with pytest.raises(ProcessTimedOut, match=r"timed out after 0\.5 s") as caught:
        run(["sh", "-c", "echo begun; sleep 60"], timeout=0.5)
    assert 0.5 <= time.monotonic() - begin < 4
    assert (caught.value.timed_out, caught.value.signal, caught.value.stdout) == (True, signal.SIGTERM, "begun\n")


def test_the_last_words_after_term_are_heard() -> None:
    script = "trap 'seq 20000; echo bye; exit 0' TERM; echo begun; while :; do sleep 0.01; done"
    with pytest.raises(ProcessTimedOut) as caught:
        run(["sh", "-c", script], timeout=0.5)
    assert caught.value.stdout.endswith("20000\nbye\n")


def test_a_cancelled_process_starts_nothing(tmp_path: Path) -> None:
    with process("over") as over:
        over.cancel("shutdown")
        with pytest.raises(Cancelled, match="shutdown"):
            over.run(["touch", tmp_path / "x"])
    assert not (tmp_path / "x").exists()


def test_where_there_is_no_setpriv_a_small_python_sets_the_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    families._launcher.cache_clear()
    with monkeypatch.context() as patched:
        patched.setattr(families.shutil, "which", lambda *_, **__: None)
        launcher = families._launcher()
    try:
        assert launcher[0] == sys.executable
        script = (
            "import ctypes; found = ctypes.c_int(); ctypes.CDLL(None).prctl(2, ctypes.byref(found)); print(found.value)"
        )
        assert run([sys.executable, "-c", script]).stdout == "9\n"
        assert run(["printf", "%s", "--", "-x"]).stdout == "---x"
    finally:
        families._launcher.cache_clear()
    assert run([sys.executable, "-c", script]).stdout == "9\n"
