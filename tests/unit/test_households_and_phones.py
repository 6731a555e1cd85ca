"""One household is one key, one person one number, however either was written down."""

import pytest

from services.households import household_key
from services.telephones import masked_name, masked_phone, normalised_phone

SAME_HOUSEHOLD = [
    "3-1-201",
    "3栋1单元201室",
    "3栋1单元0201室",
    "03栋01单元0201",
    "3幢1单元201号",
    "3座1单元201房",
    "3号楼1单元201室",
    "3#1单元201",
    "3＃１单元２０１室",
    "３－１－２０１",
    "３栋１单元２０１室",
    " 3 栋 1 单元 201 室 ",
    "3—1—201",
    "3–1–201",
    "3‑1‑201",
    "3--1--201-",
    "3_1_201",
    "3/1/201",
    "3栋　1单元　201",
]
HOUSEHOLDS = {
    "a座1201": "A-1201",
    "Ａ座１２０１室": "A-1201",
    "A座0101": "A-101",
    "B-101": "B-101",
    "1-101-10": "1-101-10",
    "100-1001": "100-1001",
    "南区3栋201": "南区3-201",
    "商铺12": "商铺12",
    "000": "0",
    "10栋": "10",
}


@pytest.mark.parametrize("written", SAME_HOUSEHOLD)
def test_one_address_has_one_key_in_every_spelling(written: str) -> None:
    assert household_key(written) == "3-1-201"


@pytest.mark.parametrize(("written", "key"), HOUSEHOLDS.items())
def test_an_address_has_the_key_of_its_figures(written: str, key: str) -> None:
    assert household_key(written) == key


def test_neighbours_have_different_keys() -> None:
    neighbours = ["3-1-201", "31-201", "3-1201", "3-1-2010", "13-1-201", "3-2-101", "3-1-20-1"]
    assert len({household_key(written) for written in neighbours}) == len(neighbours)


@pytest.mark.parametrize("written", ["室", "--", "号楼"])
def test_an_address_of_words_alone_stays_itself(written: str) -> None:
    assert household_key(written) == written


def test_a_key_is_its_own_key() -> None:
    keys = {household_key(written) for written in [*SAME_HOUSEHOLD, *HOUSEHOLDS]}
    assert {household_key(key) for key in keys} == keys


PHONES = {
    "13800138000": "13800138000",
    "138 0013 8000": "13800138000",
    "138-0013-8000": "13800138000",
    "１３８００１３８０００": "13800138000",
    "+86 138 0013 8000": "13800138000",
    "＋８６１３８００１３８０００": "13800138000",
    "(+86)13800138000": "13800138000",
    "0086-138-0013-8000": "13800138000",
    "8613800138000": "13800138000",
    "0757-22334455": "075722334455",
    "(0757)22334455": "075722334455",
    "（0757）2233 4455": "075722334455",
    "+86 757 22334455": "075722334455",
    "+86-0757-22334455": "075722334455",
    "+86 10 88886666": "01088886666",
    "010-88886666": "01088886666",
    "021-66668888转123": "02166668888-123",
    "0757-22334455 分机 8001": "075722334455-8001",
    "0757-22334455#8001": "075722334455-8001",
    "0757-22334455 ext. 8001": "075722334455-8001",
    "0757-22334455x8001": "075722334455-8001",
    "400-820-8820": "4008208820",
    "95588": "95588",
    "+852 2345 6789": "+85223456789",
    "00852-2345-6789": "+85223456789",
}
NO_PHONES = ["", "无", "电话", "1234", "++", "1" * 21, "转123", "一三八"]


@pytest.mark.parametrize(("written", "number"), PHONES.items())
def test_a_telephone_number_has_one_form(written: str, number: str) -> None:
    assert normalised_phone(written) == number


@pytest.mark.parametrize("written", NO_PHONES)
def test_what_cannot_be_dialled_is_no_number(written: str) -> None:
    assert normalised_phone(written) is None


MASKED = {
    "13812345678": "138****5678",
    "+86 138-1234-5678": "138****5678",
    "0757-22334455": "0757-****4455",
    "0757-22334455转8001": "0757-****4455",
    "010-88886666": "010-****6666",
    "021-66668888": "021-****8888",
    "4008208820": "****8820",
    "95588": "****",
}


@pytest.mark.parametrize(("written", "shown"), MASKED.items())
def test_a_masked_number_shows_its_ends_alone(written: str, shown: str) -> None:
    assert masked_phone(written) == shown


@pytest.mark.parametrize(("name", "shown"), [("李四", "李**"), ("欧阳娜娜", "欧**"), ("Li Wei", "L**"), ("李", "李**")])
def test_a_masked_name_shows_one_character_and_not_its_length(name: str, shown: str) -> None:
    assert masked_name(name) == shown
