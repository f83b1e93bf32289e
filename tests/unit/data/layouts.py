"""Tiny made folders in the layouts of public data sets, absent and invalid frames included.

Every picture is a bright square on grey whose place and size are the truth, so that a reader that
is off by one pixel or one frame is found out by looking at the pixels.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

SIZE = (64, 48)
Box = tuple[int, int, int, int]


def box_of(number: int, offset: int = 0) -> Box:
    """The square in frame `number`, from pixel 0."""
    return 10 + 2 * number + offset, 12 + offset, 8 + number % 3, 8


def picture(box: Box | None) -> NDArray[np.uint8]:
    """Grey, with a white square where the box is."""
    image = np.full((SIZE[1], SIZE[0], 3), 90, np.uint8)
    if box is not None:
        x, y, w, h = box
        image[y : y + h, x : x + w] = 255
    return image


def boxes_of(count: int, absent: tuple[int, ...] = ()) -> list[Box | None]:
    """Boxes of the frames, None where the target is absent."""
    return [None if number in absent else box_of(number) for number in range(count)]


def write_frames(folder: Path, boxes: list[Box | None], pattern: str, first: int = 1) -> list[Path]:
    """One picture a box, numbered from `first`."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for number, box in enumerate(boxes, first):
        path = folder / pattern.format(number)
        # PNG inside, whatever the name says: the pixels must be exact.
        path.write_bytes(cv2.imencode(".png", picture(box))[1].tobytes())
        paths.append(path)
    return paths


def rows(
    boxes: list[Box | None], origin: int = 0, gap: str = "0,0,0,0", form: str = "{},{},{},{}"
) -> str:
    """Truth text; boxes move by the origin."""
    lines = []
    for box in boxes:
        if box is None:
            lines.append(gap)
        else:
            lines.append(form.format(box[0] + origin, box[1] + origin, *box[2:]))
    return "".join(f"{line}\n" for line in lines)


def put(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


def flags(values: list[int], mark: str) -> str:
    return mark.join(str(value) for value in values) + "\n"


def make_got10k(root: Path) -> None:
    meta = "[METAINFO]\nurl: none\nanno_fps: 10Hz\nobject_class: camel\nresolution: (64, 48)\n"
    for split, count in (("train", 2), ("val", 1), ("test", 1)):
        names = [f"GOT-10k_{split.title()}_{i:06d}" for i in range(1, count + 1)]
        put(root / split / "list.txt", "".join(f"{name}\n" for name in names))
        for name in names:
            place = root / split / name
            boxes = boxes_of(5, absent=() if split == "test" else (2,))
            write_frames(place, boxes, "{:08d}.jpg")
            form = "{}.0000,{}.0000,{}.0000,{}.0000"
            truth = rows(boxes, gap="0.0000,0.0000,0.0000,0.0000", form=form)
            if split == "test":
                truth = truth.splitlines()[0] + "\n"
            else:
                put(place / "absence.label", flags([0, 0, 1, 0, 0], "\n"))
                put(place / "cover.label", flags([8, 8, 0, 3, 0], "\n"))
                put(place / "cut_by_image.label", flags([0] * 5, "\n"))
                put(place / "meta_info.ini", meta)
            put(place / "groundtruth.txt", truth)


def make_lasot(
    root: Path, names: tuple[str, ...] = ("airplane-1", "airplane-2", "zebra-10")
) -> None:
    for name in names:
        place = root / name.rpartition("-")[0] / name
        boxes = boxes_of(4, absent=(1,))
        write_frames(place / "img", boxes, "{:08d}.jpg")
        put(place / "groundtruth.txt", rows(boxes, 1))
        put(place / "full_occlusion.txt", flags([0, 0, 0, 1], ","))
        put(place / "out_of_view.txt", flags([0, 1, 0, 0], ","))
        put(place / "nlp.txt", "white square\n")


def make_lasot_ext(root: Path) -> None:
    make_lasot(root, ("atv-1", "wingsuit-10"))


def make_trackingnet(root: Path) -> None:
    for part, name, count in (("TRAIN_0", "a_b-0", 11), ("TRAIN_3", "c_1", 3), ("TEST", "d_2", 3)):
        boxes = boxes_of(count)
        write_frames(root / part / "frames" / name, boxes, "{}.jpg", first=0)
        text = rows(boxes, form="{}.0,{}.0,{}.0,{}.0")
        truth = text if part != "TEST" else text.splitlines()[0] + "\n"
        put(root / part / "anno" / f"{name}.txt", truth)


def make_tnl2k(root: Path) -> None:
    for part in ("TNL2K_train_subset", "TNL2K_test_subset"):
        place = root / part / "Square_video_01"
        boxes = boxes_of(3, absent=(1,))
        write_frames(place / "imgs", boxes, "{:05d}.png")
        put(place / "groundtruth.txt", rows(boxes))
        put(place / "language.txt", "the white square")


def make_otb(root: Path) -> None:
    boxes = boxes_of(4)
    write_frames(root / "Car4" / "img", boxes, "{:04d}.jpg")
    put(root / "Car4" / "groundtruth_rect.txt", rows(boxes, 1, form="{}\t{}\t{}\t{}"))
    for number in (1, 2):
        put(root / "Jogging" / f"groundtruth_rect.{number}.txt", rows(boxes, 1))
    write_frames(root / "Jogging" / "img", boxes, "{:04d}.jpg")
    write_frames(root / "Human4" / "img", boxes, "{:04d}.jpg")
    put(root / "Human4" / "groundtruth_rect.1.txt", "")
    put(root / "Human4" / "groundtruth_rect.2.txt", rows(boxes, 1))
    # The truth of Football1 ends before the video.
    write_frames(root / "Football1" / "img", boxes_of(76)[:1] * 76, "{:04d}.jpg")
    put(root / "Football1" / "groundtruth_rect.txt", rows(boxes_of(1) * 74, 1))


def make_uav123(root: Path) -> None:
    boxes = boxes_of(4, absent=(2,))
    write_frames(root / "data_seq/UAV123/bike1", boxes, "{:06d}.jpg")
    put(root / "anno/UAV123/bike1.txt", rows(boxes, 1, gap="NaN,NaN,NaN,NaN"))
    put(root / "anno/UAV20L/bike1.txt", rows(boxes, 1, gap="NaN,NaN,NaN,NaN"))
    put(root / "anno/UAV123/truck4_1.txt", rows([box_of(i % 4) for i in range(2)], 1))
    put(root / "anno/UAV123/truck4_2.txt", rows([box_of(i % 4) for i in range(3)], 1))
    write_frames(root / "data_seq/UAV123/truck4", [box_of(0), box_of(1)], "{:06d}.jpg")
    write_frames(root / "data_seq/UAV123/truck4", boxes_of(3), "{:06d}.jpg", first=577)


def make_nfs(root: Path) -> None:
    boxes = boxes_of(16)
    form = '0 {} {} {} {} 1 0 0 0 "square"\n'
    for split, step, name in (("240", 1, "ball"), ("30", 8, "ball")):
        place = root / name / split
        write_frames(place / name, boxes[::step], "{:05d}.jpg")
        lines = (form.format(x, y, x + w, y + h) for x, y, w, h in filter(None, boxes))
        put(place / f"{name}.txt", "".join(lines))


def make_vot(root: Path) -> None:
    boxes = boxes_of(4, absent=(2,))
    put(root / "list.txt", "rect\npolygon\nmask\n")
    write_frames(root / "rect", boxes, "{:08d}.jpg")
    put(root / "rect/groundtruth.txt", rows(boxes, gap="nan,nan,nan,nan"))
    write_frames(root / "polygon", boxes, "{:08d}.jpg")
    lines = []
    for box in boxes:
        x, y, w, h = box or (0, 0, 0, 0)
        corners = (x, y + 2, x + w - 3, y, x + w, y + 5, x + 4, y + h)
        lines.append(",".join(["nan"] * 8 if box is None else [str(v) for v in corners]))
    put(root / "polygon/groundtruth.txt", "\n".join(lines) + "\n")
    write_frames(root / "mask/color", boxes, "{:08d}.jpg")
    coded = []
    for box in boxes:
        x, y, w, h = box or (0, 0, 2, 1)
        # A field one pixel wider than the target on the left: a 0 and w ones on each row.
        runs = [2] if box is None else [1, w] * h
        field = (x, y, w, h) if box is None else (x - 1, y, w + 1, h)
        coded.append("m" + ",".join(str(v) for v in (*field, *runs)))
    put(root / "mask/groundtruth.txt", "\n".join(coded) + "\n")


def make_vid(root: Path) -> None:
    for video, split in (
        ("train/ILSVRC2015_VID_train_0000/ILSVRC2015_train_00000000", "train"),
        ("val/ILSVRC2015_val_00000000", "val"),
    ):
        del split
        boxes = boxes_of(4, absent=(2,))
        write_frames(root / "Data/VID" / video, boxes, "{:06d}.JPEG", first=0)
        for number, box in enumerate(boxes):
            objects = [(0, box)] if box else []
            objects += [(1, (1, 2, 3, 4))] if number == 3 or box is None else []
            text = "".join(
                f"<object><trackid>{track}</trackid><name>n02084071</name><bndbox><xmax>{x + w - 1}"
                f"</xmax><xmin>{x}</xmin><ymax>{y + h - 1}</ymax><ymin>{y}</ymin></bndbox>"
                f"<occluded>0</occluded></object>"
                for track, (x, y, w, h) in objects
            )
            path = root / "Annotations/VID" / video / f"{number:06d}.xml"
            put(path, f"<annotation><size/>{text}</annotation>")


def make_coco(root: Path) -> None:
    write_frames(root / "train2017", boxes_of(2), "{:012d}.jpg")
    images = [{"id": i, "file_name": f"{i:012d}.jpg", "width": 64, "height": 48} for i in (1, 2)]
    notes = [
        {"id": 7, "image_id": 1, "category_id": 3, "bbox": list(box_of(0)), "iscrowd": 0},
        {"id": 8, "image_id": 2, "category_id": 3, "bbox": list(box_of(1)), "iscrowd": 0},
        {"id": 9, "image_id": 2, "category_id": 3, "bbox": [0, 0, 9, 9], "iscrowd": 1},
        {"id": 10, "image_id": 2, "category_id": 3, "bbox": [0, 0, 0, 9], "iscrowd": 0},
    ]
    content = {"images": images, "annotations": notes, "categories": [{"id": 3, "name": "car"}]}
    put(root / "annotations/instances_train2017.json", json.dumps(content))


def palette(number: int) -> tuple[int, int, int]:
    """The colour, blue first, that DAVIS and YouTube-VOS paint an object in."""
    red = green = blue = 0
    for bit in range(8):
        red |= (number & 1) << (7 - bit)
        green |= (number >> 1 & 1) << (7 - bit)
        blue |= (number >> 2 & 1) << (7 - bit)
        number >>= 3
    return blue, green, red


def write_masks(
    folder: Path, objects: list[dict[int, Box]], *, colours: bool, step: int = 1
) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for number, here in enumerate(objects):
        mask = np.zeros((SIZE[1], SIZE[0], *([3] if colours else [])), np.uint8)
        for key, (x, y, w, h) in here.items():
            mask[y : y + h, x : x + w] = palette(key) if colours else key
        cv2.imwrite(str(folder / f"{number * step:05d}.png"), mask)


def make_davis(root: Path) -> None:
    boxes = boxes_of(4, absent=(2,))
    for name, key, colours in (("bear", 255, False), ("two", 1, True)):
        write_frames(root / "JPEGImages/480p" / name, boxes, "{:05d}.jpg", first=0)
        objects: list[dict[int, Box]] = [{key: box} if box else {} for box in boxes]
        if name == "two":
            objects = [{**here, 9: (40, 30, 5, 6)} for here in objects]
        write_masks(root / "Annotations/480p" / name, objects, colours=colours)
    put(root / "ImageSets/2017/train.txt", "two\n")
    line = "/JPEGImages/480p/bear/00000.jpg /Annotations/480p/bear/00000.png\n"
    put(root / "ImageSets/2016/val.txt", line)


def make_youtube(root: Path) -> None:
    boxes = boxes_of(3)
    for number, box in enumerate(boxes):
        write_frames(root / "train/JPEGImages/0043f083b5", [box], "{:05d}.jpg", first=5 * number)
    objects: list[dict[int, Box]] = [{1: box} for box in boxes[:2] if box]
    objects[1][2] = (3, 4, 5, 6)  # comes in later
    write_masks(root / "train/Annotations/0043f083b5", objects, colours=True, step=5)
    known = {"1": {"category": "sedan", "frames": []}, "2": {"category": "dog", "frames": []}}
    put(root / "train/meta.json", json.dumps({"videos": {"0043f083b5": {"objects": known}}}))


MAKERS: dict[str, Callable[[Path], None]] = {
    "got10k": make_got10k,
    "lasot": make_lasot,
    "lasot_ext": make_lasot_ext,
    "trackingnet": make_trackingnet,
    "tnl2k": make_tnl2k,
    "otb": make_otb,
    "uav123": make_uav123,
    "nfs": make_nfs,
    "vot": make_vot,
    "vid": make_vid,
    "coco": make_coco,
    "davis": make_davis,
    "youtube": make_youtube,
}
