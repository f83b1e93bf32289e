#!/bin/sh
# Builds track.cpp with OpenVINO from its Python wheel: build.sh PYTHON OUT
# With ONNXRUNTIME=FOLDER, where onnxruntime_cxx_api.h lies (there or in include/), with ONNX Runtime
# instead: its library from FOLDER/lib, or, where only the headers are there, from the Python wheel.
# Debian 13 has the headers in libonnxruntime-dev: ONNXRUNTIME=/usr/include/onnxruntime.
set -eu
python=$1 out=$2 here=$(dirname "$0")
command -v "${CXX:-g++}" >/dev/null || { echo "no C++ compiler: apt-get install g++" >&2; exit 1; }
command -v pkg-config >/dev/null || { echo "no pkg-config: apt-get install pkg-config" >&2; exit 1; }
pkg-config --exists opencv4 || { echo "no OpenCV headers: apt-get install libopencv-dev" >&2; exit 1; }
flags="-std=c++17 -O2 -Wall -Wextra $(pkg-config --cflags opencv4)"
libs="-lopencv_imgcodecs -lopencv_imgproc -lopencv_core"
if [ -n "${ONNXRUNTIME:-}" ]; then
    headers=$ONNXRUNTIME
    [ ! -d "$headers/include" ] || headers=$headers/include
    [ -e "$headers/onnxruntime_cxx_api.h" ] ||
        { echo "no onnxruntime_cxx_api.h in $headers: set ONNXRUNTIME to its folder" >&2; exit 1; }
    flags="$flags -DWITH_ONNXRUNTIME -isystem $headers"
    if [ -e "$ONNXRUNTIME/lib/libonnxruntime.so" ]; then
        libs="$libs -L$ONNXRUNTIME/lib -lonnxruntime -Wl,-rpath,$ONNXRUNTIME/lib"
    else
        # The wheel has the library under its full version alone; the loader asks for .so.1.
        wheel=$("$python" -c 'import onnxruntime, os; print(os.path.dirname(onnxruntime.__file__))')
        beside=$(dirname "$out")/libonnxruntime.so.1
        ln -sf "$(ls "$wheel"/capi/libonnxruntime.so.* | head -n 1)" "$beside"
        libs="$libs $beside -Wl,-rpath,\$ORIGIN"
    fi
else
    wheel=$("$python" -c 'import openvino, os; print(os.path.dirname(openvino.__file__))') ||
        { echo "no OpenVINO: pip install 'mixformerv2[openvino]'" >&2; exit 1; }
    library=$(basename "$(ls "$wheel"/libs/libopenvino.so.* | head -n 1)")
    flags="$flags -isystem $wheel/include"
    libs="$libs -L$wheel/libs -l:$library -Wl,-rpath,$wheel/libs"
fi
# shellcheck disable=SC2086
"${CXX:-g++}" $flags "$here/track.cpp" -o "$out" $libs
