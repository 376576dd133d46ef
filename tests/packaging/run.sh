#!/usr/bin/env bash
# run.sh - wheel and sdist as people get them: built, unpacked or installed elsewhere, and asked for what needs data files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
root=$PWD
venv=${VENV:-.venv}
python=$root/$venv/bin/python
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

"$python" -m uv build --quiet --out-dir "$folder/dist" "$root"
sdist=$(echo "$folder"/dist/*.tar.gz)
wheel=$(echo "$folder"/dist/*.whl)

# The wheel is built again from the sdist: what that lacks would be missing here.
mkdir "$folder/sdist" && tar -xzf "$sdist" -C "$folder/sdist" --strip-components=1
for needed in tests/conftest.py results Makefile CHANGELOG.md LICENSE; do
  [[ -e $folder/sdist/$needed ]] || { echo "check-dist: the sdist has no $needed"; exit 1; }
done
"$python" -m uv build --quiet --wheel --out-dir "$folder/again" "$folder/sdist"
names() { "$python" -c 'import sys, zipfile; print(*sorted(n for n in zipfile.ZipFile(sys.argv[1]).namelist() if ".dist-info/" not in n), sep="\n")' "$1"; }
diff <(names "$wheel") <(names "$folder"/again/*.whl) || { echo "check-dist: sdist and repository make other wheels"; exit 1; }

# Dependencies are those of the environment that is there: gigabytes need not be downloaded to try our own files.
cd "$folder"
"$python" -m venv --without-pip try
site=$(echo try/lib/python3.*/site-packages)
"$python" -m uv pip install --quiet --no-deps --python try/bin/python "$wheel"
"$python" -c 'import site; print(*(p for p in site.getsitepackages()), sep="\n")' > "$site/dependencies.pth"
ask() { try/bin/python -I -m fairnas.pipeline.cli "$@"; }
ask --version | grep '^fairnas [0-9]' > /dev/null
ask --help > /dev/null
ask targets | grep pixel > /dev/null
ask models --json | grep fairnas_a > /dev/null
{ ask search --preset quickstart --set search.population=1 2>&1 || true; } | grep 'search.population' > /dev/null
try/bin/python -I - <<'CODE'
from pathlib import Path

import fairnas
import fairnas.exporters.pages.pages
import fairnas.exporters.passport.page
import fairnas.latency_tables.runner.toolchain
from fairnas.exporters.passport.passport import SCHEMA_FILE
from fairnas.latency_tables import list_tables, load_table
from fairnas.models import get_space, list_spaces

place = Path(fairnas.__file__ or "").parent
assert "site-packages" in str(place), place
assert (place / "py.typed").is_file()
assert SCHEMA_FILE.is_file()
assert fairnas.exporters.pages.pages.STYLE_FILE.is_file()
assert (place / "exporters" / "mmdet_configs" / "retinanet_small.py").is_file()
assert (place / "latency_tables" / "devices" / "browser" / "page" / "worker.js").is_file()
assert len(fairnas.latency_tables.runner.toolchain.ingredients()) > 20
assert all(load_table(name) for name in list_tables())
assert all(get_space(name) for name in list_spaces())
print(f"check-dist: fairnas {fairnas.__version__} works from its wheel, and the sdist makes the same")
CODE
