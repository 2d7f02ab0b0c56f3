"""Traces as others read them: h5py, xarray with both engines, pandas through xarray, and h5dump.

Writes two sample runs with `test_trace PATH PATH` (tests/sample_run.h says what is in them): run-1 of 32 steps, which
was planned for 40, and run-2 of 40.  Prints TAP.  RESA names the program, whose build folder has the tests
(default: build/resa)."""
import importlib
import os
import shutil
import subprocess
import sys
import tempfile

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
BUILD = os.path.dirname(os.environ.get("RESA", os.path.join(ROOT, "build", "resa")))
ENGINES = ("h5netcdf", "netcdf4")
N_LANES, N_LAYERS, N_HEADS, N_SLOTS, N_PROMPT = 4, 3, 2, 5, 20
LANES = ["dense", "clean/s0.9-b16-fnever@dense", "resa/s0.9-b16-f8", "st\u00e4le/s0-b16-fnever@resa/s0.9-b16-f8"]
COORDINATES = ["run_id", "source", "start", "seed", "model", "prompt_tokens", "lane_name", "lane_interval", "lane_sparsity"]

tests = []


def test(*needs):
    """Registers a test and the modules or programs it needs."""
    def add(function):
        tests.append((function, needs))
        return function
    return add


def missing(needs):
    for need in needs:
        if need.startswith("bin:"):
            if not shutil.which(need[4:]):
                return need[4:] + " is not installed"
        else:
            try:
                importlib.import_module(need)
            except ImportError:
                return "python module " + need + " is not installed"
    return None


def value(index, step, i):
    """sample_value() of float variables, index their place in core/record.h."""
    return index * 1000 + step + i / 64


def check_equal(got, want, what=""):
    assert got == want, f"{what}: {got!r}, not {want!r}"


def names_in_order(path):
    """Names of the datasets, in the order of their creation."""
    import h5py
    names = []
    with h5py.File(path, "r") as f:
        f.id.links.iterate(lambda name: names.append(name.decode()), idx_type=h5py.h5.INDEX_CRT_ORDER)
    return names


def names_of_record(path):
    """Names of the record's variables, in the order of core/record.h, where sample_value() takes its index from."""
    names = names_in_order(path)
    return names[names.index("token"):]


@test("h5py")
def h5py_reads_structure(one, two):
    """Every axis has a scale, creation order is kept, floats have a NaN fill value, chunks are small."""
    import h5py
    import numpy
    names = names_in_order(one)
    with h5py.File(one, "r") as f:
        check_equal(f.attrs["run_id"], "run-1")
        check_equal(int(f.attrs["steps"]), 32)
        check_equal(int(f.attrs["steps_planned"]), 40)
        check_equal(f["nll"].attrs["target_of"], "text")
        check_equal(names[:6], ["step", "lane", "layer", "kv_head", "prompt_position", "slot"], "order of creation")
        check_equal(f["k_drift"].shape, (32, N_LANES, N_LAYERS))
        check_equal(f["selected_blocks"].shape, (32, N_LANES, N_LAYERS, N_HEADS, N_SLOTS))
        check_equal([n.decode() for n in f["lane_name"][:]], LANES)
        for name, d in f.items():
            for axis in range(d.ndim):
                if not h5py.h5ds.is_scale(d.id):
                    check_equal(len(d.dims[axis]), 1, f"scale of {name}, axis {axis}")
            if d.dtype == numpy.float32:
                assert numpy.isnan(d.fillvalue) and numpy.isnan(d.attrs["_FillValue"]), name
            if d.dtype == numpy.uint8:
                check_equal(list(d.attrs["flag_values"]), [0, 1], name)
                check_equal(d.attrs["flag_meanings"].split(), ["no", "yes"], name)
                check_equal(int(d.attrs["_FillValue"][0]), 255, name)
            if d.dtype.kind in "fiu":
                assert d.attrs["units"] and d.attrs["long_name"], name
            if d.chunks:
                assert numpy.prod(d.chunks) * d.dtype.itemsize <= 512 << 10, f"chunk of {name}"
                check_equal((d.compression, d.compression_opts, d.shuffle), ("gzip", 1, True), name)
        check_equal(float(f["k_drift"][5, 2, 1]), value(names_of_record(one).index("k_drift"), 5, 2 * N_LAYERS + 1))


def opened(path, engine):
    import xarray
    return xarray.open_dataset(path, engine=engine)


def xarray_reads(one, two, engine):
    import numpy
    with opened(one, engine) as ds:
        check_equal(dict(ds.sizes), dict(step=32, lane=N_LANES, layer=N_LAYERS, kv_head=N_HEADS, slot=N_SLOTS, prompt_position=N_PROMPT))
        for name in COORDINATES:
            assert name in ds.coords, f"{name} is no coordinate"
        check_equal(ds.k_drift.dims, ("step", "lane", "layer"))
        check_equal(ds.k_norm.dims, ("step", "layer", "kv_head"))
        check_equal(ds.k_spread.dims, ("layer", "kv_head"))
        check_equal(list(ds.step.values), list(range(32)))
        check_equal(str(ds.run_id.values), "run-1")
        check_equal(int(ds.seed), 2**64 - 1)
        check_equal([str(n) for n in ds.lane_name.values], LANES)
        check_equal(list(ds.lane_sparsity.values), [0.0, 0.9, 0.9, 0.0])  # exactly what a config says
        index = names_of_record(one).index("nll")
        check_equal(float(ds.nll.sel(step=7, lane=3)), value(index, 7, 3))
        check_equal(int(ds.kv_read_bytes.sel(step=7, lane=3)), 5_000_000_703)
        assert numpy.isnan(ds.blocks_read.sel(lane=0)).all(), "blocks_read of lane 0"
        rect = ds.k_rect_drift.notnull().all(dim=("lane", "layer"))
        check_equal([int(s) for s in ds.step.values[rect.values]], [7, 15, 23, 31], "rectification drift")
        never = ds.nll.where(ds.lane_interval == 0, drop=True)
        check_equal([str(n) for n in never.lane_name.values], [LANES[0], LANES[1], LANES[3]])
        check_equal(set(numpy.unique(ds.rectified.values)), {0.0, 1.0})


@test("xarray", "h5netcdf", "h5py")
def xarray_h5netcdf(one, two):
    """xarray with the engine h5netcdf: dimensions, coordinates, values, missing values."""
    xarray_reads(one, two, "h5netcdf")


@test("xarray", "netCDF4", "h5py")
def xarray_netcdf4(one, two):
    """xarray with the engine netcdf4: the same."""
    xarray_reads(one, two, "netcdf4")


@test("xarray", "h5netcdf", "netCDF4")
def engines_agree(one, two):
    """Both engines see identical datasets, attributes included."""
    import xarray
    with opened(one, "h5netcdf") as a, opened(one, "netcdf4") as b:
        xarray.testing.assert_equal(a, b)
        for name in a.variables:
            check_equal(sorted(a[name].attrs), sorted(b[name].attrs), f"attributes of {name}")
        for name, text in a.attrs.items():
            check_equal(str(b.attrs[name]), str(text), f"attribute {name}")


def joined(one, two, engine):
    """Runs side by side along a new dimension: join keys become coordinates of it, lanes stay shared."""
    import numpy
    import xarray
    with xarray.open_mfdataset([one, two], engine=engine, combine="nested", concat_dim="run", data_vars="all") as ds:
        check_equal(ds.run_id.dims, ("run",))
        check_equal([str(n) for n in ds.run_id.values], ["run-1", "run-2"])
        check_equal(ds.lane_name.dims, ("lane",))
        check_equal(ds.nll.dims, ("run", "step", "lane"))
        check_equal(ds.sizes["step"], 40)
        assert numpy.isnan(ds.nll.isel(run=0, step=slice(32, None))).all(), "steps that run-1 does not have"
        both = ds.nll.isel(step=slice(0, 32))
        assert (both.isel(run=0).values == both.isel(run=1).values).all()


@test("xarray", "h5netcdf", "dask")
def open_mfdataset_h5netcdf(one, two):
    """xarray.open_mfdataset over two runs of different lengths, h5netcdf."""
    joined(one, two, "h5netcdf")


@test("xarray", "netCDF4", "dask")
def open_mfdataset_netcdf4(one, two):
    """xarray.open_mfdataset over two runs of different lengths, netcdf4."""
    joined(one, two, "netcdf4")


@test("xarray", "h5netcdf", "netCDF4")
def concat(one, two):
    """xarray.concat over two runs, without dask, both engines."""
    import xarray
    for engine in ENGINES:
        with opened(one, engine) as a, opened(two, engine) as b:
            ds = xarray.concat([a, b], dim="run", coords="different", compat="equals")
            check_equal([str(n) for n in ds.run_id.values], ["run-1", "run-2"])
            check_equal(ds.sizes["run"], 2)
            check_equal(float(ds.nll.isel(run=1).sel(step=39, lane=1)), float(b.nll.sel(step=39, lane=1)))


@test("xarray", "h5netcdf", "netCDF4", "pandas")
def pandas_frame(one, two):
    """A tidy pandas frame through xarray: a row for each step and lane, settings as columns."""
    for engine in ENGINES:
        with opened(one, engine) as ds:
            frame = ds[["nll", "logit_kl", "rectified"]].to_dataframe().reset_index()
            check_equal(len(frame), 32 * N_LANES)
            for column in ("step", "lane", "lane_name", "lane_interval", "run_id", "nll"):
                assert column in frame.columns, column
            means = frame.groupby("lane_name").nll.mean()
            check_equal(set(means.index), set(LANES))
            assert abs(means["dense"] - frame[frame.lane == 0].nll.mean()) < 1e-9


@test("netCDF4")
def netcdf_appends(one, two):
    """netCDF-4 itself can add to a trace, which needs the order of creation to be tracked."""
    import netCDF4
    copy = one + ".copy"
    shutil.copy(one, copy)
    with netCDF4.Dataset(copy, "a") as ds:
        ds.setncattr("note", "added")
        v = ds.createVariable("extra", "f4", ("step", "lane"))
        v[:] = 1
    with netCDF4.Dataset(copy) as ds:
        check_equal(ds.note, "added")
        check_equal(ds["extra"].shape, (32, N_LANES))
    os.remove(copy)


@test("bin:h5dump")
def h5dump_prints(one, two):
    """h5dump shows the header and a dataset."""
    head = subprocess.run(["h5dump", "-H", one], capture_output=True, text=True, check=True).stdout
    for name in ("k_drift", "lane_name", "selected_blocks"):
        assert f'DATASET "{name}"' in head, name
    data = subprocess.run(["h5dump", "-d", "context_tokens", "-y", "-w", "0", one], capture_output=True, text=True, check=True).stdout
    assert "SIMPLE { ( 32 ) / ( H5S_UNLIMITED ) }" in data, data


def main():
    program = os.path.join(BUILD, "tests", "test_trace")
    failed = 0
    with tempfile.TemporaryDirectory() as folder:
        paths = [os.path.join(folder, name) for name in ("one.h5", "two.h5")]
        subprocess.run([program, *paths], check=True)
        for number, (function, needs) in enumerate(tests, 1):
            name = f"{function.__name__}: {function.__doc__.splitlines()[0]}"
            why = missing(needs)
            if why:
                print(f"ok {number} - {name} # SKIP {why}")
                continue
            try:
                function(*paths)
                print(f"ok {number} - {name}")
            except Exception as error:  # a test that breaks is a test that fails
                failed += 1
                print(f"not ok {number} - {name}")
                print(f"# {type(error).__name__}: {error}".replace("\n", "\n# "))
    print(f"1..{len(tests)}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
