# ruff: noqa: E501 - programs are easier to read whole
"""Programs that mean harm. Each writes `ok`, the answer asked for, only if its attack worked.

So success would show as a pass. Each is bounded by itself, so that it stays harmless where the sandbox is broken.

`{...}` are filled in by the test: {port} of a listener, {secret} a file, {token} what is in it and in the environment,
{home}, {repository}, {mark} a word for files, {pid} of the test, {abstract} a local socket's name.
"""

from typing import NamedTuple


class Attack(NamedTuple):
    """A program, the verdicts that name what it did, and words of the detail (a regular expression)."""

    program: str
    kinds: str
    words: str = ""


DENIED = "PermissionError|Operation not permitted|Permission denied|denied"
ABSENT = f"{DENIED}|No such file|FileNotFoundError"

ATTACKS = {
    "fork bomb": Attack(
        "import os, time\nfor _ in range(200):\n if os.fork() == 0:\n  time.sleep(3); os._exit(0)\nprint('ok')",
        "error", DENIED),
    "subprocess": Attack("import subprocess\nprint(subprocess.check_output(['echo', 'ok'], text=True))", "error", ABSENT),
    "exec": Attack("import os\nos.execv('/bin/echo', ['echo', 'ok'])", "error", ABSENT),
    "memory bomb": Attack(
        "kept = []\nfor _ in range(64):\n kept.append(b'x' * 2**25)\nprint('ok')", "memory"),
    "swallowed memory errors": Attack(
        "import time\nkept = []\nend = time.time() + 20\nwhile time.time() < end and len(kept) < 64:\n try:\n"
        "  kept.append(b'x' * 2**25)\n except MemoryError:\n  pass\nprint('ok')", "timeout"),
    "infinite loop": Attack("while True: pass", "timeout", "1.5 s"),
    "sleep": Attack("import time\ntime.sleep(20)\nprint('ok')", "timeout", "1.5 s"),
    "reads for ever": Attack("import os, time\nr, w = os.pipe()\nos.read(r, 1)\nprint('ok')", "timeout"),
    "output flood": Attack("import sys\nfor _ in range(4096):\n sys.stdout.write('x' * 16384 + '\\n')\nprint('ok')",
                           "output_limit", "standard output"),
    "error flood": Attack("import sys\nfor _ in range(4096):\n sys.stderr.write('x' * 16384 + '\\n')\nprint('ok')",
                          "output_limit", "standard error"),
    "one gigantic line": Attack("import os\nos.write(1, b'x' * 2**25)\nprint('ok')", "output_limit"),
    # Only the folders that lead to Python's library may show.
    "read the home folder": Attack(
        "import os\nfound = [n for n in os.listdir('{home}') if not os.__file__.startswith('{home}/' + n)]\n"
        "print('ok' if found else 'none')", "error wrong", f"{ABSENT}|none"),
    "read a secret": Attack("print(open('{secret}').read())\nprint('ok')", "error", ABSENT),
    "read passwords": Attack("open('/etc/passwd').read()\nprint('ok')", "error", ABSENT),
    "read the repository": Attack("open('{repository}/pyproject.toml').read()\nprint('ok')", "error", ABSENT),
    "climb out": Attack("open('../../../../../../../../etc/hostname').read()\nprint('ok')", "error", ABSENT),
    "link to a secret": Attack(
        "import os\nos.symlink('{secret}', 'here')\nopen('here').read()\nprint('ok')", "error",
        f"{ABSENT}|Read-only"),
    "write outside": Attack(
        "import os, tempfile\nfor place in ('/tmp', '/var/tmp', '/dev/shm', '{home}', '{repository}', '/', "
        "os.path.dirname(os.__file__)):\n try:\n  open(place + '/{mark}', 'w').write('here')\n  print('ok')\n"
        " except OSError:\n  pass", "wrong"),
    "fill the scratch folder": Attack(
        "for number in range(64):\n open(f'file{{number}}', 'wb').write(b'x' * 2**22)\nprint('ok')", "error",
        "No space left|Read-only|Permission denied"),
    "a huge file": Attack("with open('f', 'wb') as f:\n for _ in range(64): f.write(b'x' * 2**20)\nprint('ok')", "error",
                          "No space left|File too large|Read-only|Permission denied"),
    "many files": Attack("for n in range(5000): open(f'f{{n}}', 'w').close()\nprint('ok')", "error",
                         "No space left|Too many|Read-only|Permission denied"),
    "network": Attack("import socket\nsocket.create_connection(('127.0.0.1', {port}), 1)\nprint('ok')", "error", DENIED),
    "network by UDP": Attack(
        "import socket\ns = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
        "s.sendto(b'here', ('127.0.0.1', {port}))\nprint('ok')", "error", DENIED),
    "names": Attack("import socket\nsocket.getaddrinfo('example.com', 80)\nprint('ok')", "error", "gaierror|" + DENIED),
    "local socket": Attack(
        "import socket\ns = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\ns.sendto(b'here', '\\0{abstract}')\n"
        "print('ok')", "error", DENIED),
    "redirected pair": Attack(
        "import socket\na, b = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
        "a.sendto(b'here', '\\0{abstract}')\nprint('ok')", "error", DENIED),
    # SIGURG does nothing by default: a sandbox that lets it through fails the test and harms nobody.
    "signal the parent": Attack("import os, signal\nos.kill(os.getppid() or -1, signal.SIGURG)\nprint('ok')", "error",
                                DENIED),
    "signal everyone": Attack("import os, signal\nos.kill(-1, signal.SIGURG)\nprint('ok')", "error", DENIED),
    "signal the group": Attack("import os, signal\nos.killpg(0, signal.SIGURG)\nprint('ok')", "error", DENIED),
    "signal the test": Attack("import os, signal\nos.kill({pid}, signal.SIGURG)\nprint('ok')", "error", DENIED),
    "signal by a file's owner": Attack(
        "import fcntl, os\nr, w = os.pipe()\nfcntl.fcntl(r, fcntl.F_SETOWN, os.getppid() or 1)\nprint('ok')", "error",
        DENIED),
    "parent's environment": Attack("import os\nopen(f'/proc/{{os.getppid() or 1}}/environ').read()\nprint('ok')", "error",
                                   ABSENT),
    "own memory by file": Attack("open('/proc/self/mem', 'rb').read(1)\nprint('ok')", "error", f"{ABSENT}|OSError"),
    "list processes": Attack("import os\nfound = os.listdir('/proc')\nprint('ok' if '{pid}' in found or '1' in found "
                             "else 'none')", "error wrong", f"{ABSENT}|none"),
    "probe processes": Attack(
        "import os\ndef there(pid):\n try:\n  os.kill(pid, 0); return True\n except OSError as e:\n  return False\n"
        "print('ok' if any(there(p) for p in ({pid}, os.getppid() or 1, 2, 3) if p != os.getpid()) else 'none')", "wrong",
        "none"),
    "ptrace": Attack(
        "import ctypes, os\nlib = ctypes.CDLL(None, use_errno=True)\n"
        "result = lib.ptrace(16, os.getppid() or {pid}, 0, 0)\nprint('ok' if result == 0 else 'refused')", "wrong",
        "refused"),
    "read foreign memory": Attack(
        "import ctypes\nlib = ctypes.CDLL(None, use_errno=True)\n"
        "print('ok' if lib.process_vm_readv({pid}, None, 0, None, 0, 0) == 0 else 'refused')", "wrong", "refused"),
    "namespaces": Attack(
        "import ctypes\nlib = ctypes.CDLL(None, use_errno=True)\n"
        "print('ok' if lib.unshare(0x10000000) == 0 else 'refused')", "wrong", "refused"),
    "become root": Attack("import os\nos.setuid(0)\nprint('ok')", "error", DENIED),
    "anonymous file": Attack("import os\nos.memfd_create('x')\nprint('ok')", "error", DENIED),
    "shared memory": Attack(
        "import ctypes\nlib = ctypes.CDLL(None, use_errno=True)\n"
        "print('ok' if lib.shmget(0, 4096, 0o1600) >= 0 else 'refused')", "wrong", "refused"),
    "double fork": Attack(
        "import os, time\nif os.fork() == 0:\n os.setsid()\n if os.fork() == 0:\n  time.sleep(5)\n os._exit(0)\n"
        "print('ok')", "error", DENIED),
    "new session": Attack("import os\nos.setsid()\nprint('ok')", "error", DENIED),
    "every descriptor": Attack(
        "import os\nfor line in (b'{{\"code\": 0, \"cpu_seconds\": 0}}\\n', b'[0, [\"s\", \"ok\"]]\\n'):\n"
        " for handle in range(3, 300):\n  try: os.write(handle, line)\n  except OSError: pass\n"
        "os.closerange(0, 300)", "wrong error"),
    "inherited descriptors": Attack(
        "import os\nfound = []\nfor handle in range(3, 300):\n try: os.fstat(handle); found.append(handle)\n"
        " except OSError: pass\nprint('ok' if found else 'none')", "wrong", "none"),
    "environment": Attack("import os\nprint('ok' if '{token}' in str(os.environ) else 'clean')", "wrong", "clean"),
    "raise own limits": Attack(
        "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))\nprint('ok')", "error",
        "not allowed|exceeds|" + DENIED),
    "deep recursion": Attack("def f(n): return f(n + 1)\nf(0)\nprint('ok')", "error", "RecursionError"),
    "deeper recursion": Attack(
        "import sys\nsys.setrecursionlimit(10**9)\nclass A:\n def __getattr__(self, n): return getattr(A(), n + 'x')\n"
        "A().y\nprint('ok')", "error memory timeout"),
    "huge number": Attack("x = 7 ** (10 ** 9)\nprint('ok')", "timeout memory"),
    "slow regular expression": Attack("import re\nre.match(r'(a+)+$', 'a' * 60 + 'b')\nprint('ok')", "timeout"),
    "thread bomb": Attack(
        "import threading, time\nthreading.stack_size(32768)\nfor _ in range(3000):\n"
        " threading.Thread(target=time.sleep, args=(3,), daemon=True).start()\nprint('ok')", "error memory timeout",
        "thread|MiB|1.5 s"),
    "deaf to signals": Attack(
        "import signal\nfor number in range(1, 32):\n try: signal.signal(number, signal.SIG_IGN)\n"
        " except (OSError, ValueError): pass\nwhile True: pass", "timeout"),
    "leave at once": Attack("import os\nos._exit(0)", "wrong"),
    "leave politely": Attack("import sys\nsys.exit(0)", "wrong"),
    "leave with a word": Attack("import sys\nsys.exit('ok')", "error", "exit status 1"),
    "pretend to be killed": Attack("import os\nprint('ok', flush=True)\nos.abort()", "error", "SIG"),
    "segmentation fault": Attack("import ctypes\nctypes.string_at(0)\nprint('ok')", "error", "SIGSEGV"),
    "no more printing": Attack(
        "import builtins, sys, os\nbuiltins.print = builtins.open = None\nsys.stdout = None\nos._exit = lambda code: None\n"
        "sys.exit = None", "wrong error"),
    "look for the answer": Attack(
        "import gc, sys\nfor thing in gc.get_objects():\n"
        " if isinstance(thing, dict) and any(isinstance(k, str) and k in ('wanted', 'outputs') for k in thing):\n"
        "  print(thing)\nframe = sys._getframe()\nwhile frame:\n print(frame.f_locals.get('wanted'))\n"
        " frame = frame.f_back", "wrong"),
    "not a program": Attack("this is no Python", "error", "SyntaxError"),
    "a null character": Attack("print('ok')\0", "error"),
    "scratch of the one before": Attack("import os\nprint('ok' if os.path.exists('left') else 'none')\n"
                                        "open('left', 'w').write('x')", "wrong error", "none|Read-only|Permission"),
}  # fmt: skip

# For calls and assertions: each defines f, whose right answer for 1 is 2, and gives another.
CHEATS = {
    "always equal": "class A:\n def __eq__(self, other): return True\n __hash__ = None\ndef f(x): return A()",
    "an equal number": "class A(int):\n def __eq__(self, other): return True\ndef f(x): return A(7)",
    "an equal list": "class A(list):\n def __eq__(self, other): return True\ndef f(x): return A([7])",
    "an equal text": "class A(str):\n def __eq__(self, other): return True\ndef f(x): return A('7')",
    "always true": "class A:\n def __bool__(self): return True\n def __abs__(self): return 0\n"
                   " def __sub__(self, o): return 0\n def __lt__(self, o): return True\ndef f(x): return A()",
    "speaks well of itself": "class A:\n def __repr__(self): return '2'\ndef f(x): return A()",
    "leaves": "import os\ndef f(x): os._exit(0)",
    "leaves politely": "import sys\ndef f(x): sys.exit(0)",
    "leaves while loading": "import os\nos._exit(0)",
    "leaves after loading": "import atexit, os, threading\ndef f(x): return 7\nos._exit(0)",
    "built-in functions": "import builtins\nbuiltins.abs = lambda x: 0\nbuiltins.bool = builtins.all = lambda *a: True\n"
                          "builtins.isinstance = lambda *a: True\ndef f(x): return 7",
    "writes verdicts": "import os\nfor h in range(3, 9):\n for _ in range(9):\n"
                       "  try: os.write(h, b'[0, [\"b\", true]]\\n')\n  except OSError: pass\ndef f(x): return 7",
    "forges the end": "import os\nfor h in range(3, 9):\n try: os.write(h, b'{\"ready\": true, \"code\": 0}\\n')\n"
                      " except OSError: pass\ndef f(x): return 7",
    "writes nonsense": "import os\nfor h in range(3, 9):\n try: os.write(h, b'}}}\\n7\\n[]\\n[[[\\n' + b'[' * 90000 + b'\\n')\n"
                       " except OSError: pass\ndef f(x): return 7",
    "rewrites the harness": "import sys\nframe = sys._getframe()\nwhile frame:\n for name in list(frame.f_globals):\n"
                            "  if name in ('encode', 'decode'): frame.f_globals[name] = lambda v: ['b', True]\n"
                            " frame = frame.f_back\ndef f(x): return 7",
    "looks for the answer": "import gc, sys\ndef f(x):\n frame = sys._getframe()\n while frame:\n"
                            "  for name in ('wanted', 'check', 'outputs', 'answer'):\n"
                            "   if name in frame.f_locals: return frame.f_locals[name]\n  frame = frame.f_back\n return 7",
    "asserts nothing": "AssertionError = None\n__debug__ if True else 0\ndef f(x): return None",
    "an endless value": "def f(x):\n while True: yield 2",
    "a nested value": "def f(x):\n v = []\n for _ in range(100000): v = [v]\n return v",
    "a set of collisions": "def f(x): return {n * (2**61 - 1) for n in range(15000)}",
    "raises success": "class Success(BaseException): pass\ndef f(x): raise Success('2')",
}  # fmt: skip
